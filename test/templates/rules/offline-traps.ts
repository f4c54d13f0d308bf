import { dependsOn, each, refersTo, Traps } from './trap';
import { finding, Json, render, Resource, Templates } from '../../support/templates';

const DELIVERY = 'AWS::KinesisFirehose::DeliveryStream';
const OPTIMIZER = 'AWS::Glue::TableOptimizer';
const TABLE = 'Custom::ThalosOfflineTable';
const ONLINE = 'AWS::DynamoDB::GlobalTable';

/** What a delivery does with its role (Firehose developer guide, "Grant Firehose access to an Apache Iceberg tables destination"). */
const NEEDED = [
  'glue:GetTable', 'glue:GetDatabase', 'glue:UpdateTable', 's3:PutObject', 'kms:GenerateDataKey', 'kinesis:GetRecords', 'lambda:InvokeFunction',
];

/** Delivery streams into Iceberg tables, and what is wrong with each. */
function eachDelivery(templates: Templates, problem: (iceberg: Json, stream: Resource) => string | undefined | false) {
  return each(templates, DELIVERY, (stream) => {
    const iceberg = stream.properties.IcebergDestinationConfiguration;
    return iceberg !== undefined && problem(iceberg, stream);
  });
}

const delivery = (iceberg: Json, more: Json = {}) => ({
  Stream: { type: DELIVERY, properties: { IcebergDestinationConfiguration: iceberg, ...more } },
});

/** Whether a resource waits, by itself or by what it names, for one of a type. */
function waitsFor(templates: Templates, resource: Resource, type: string): boolean {
  const needed = dependsOn(resource);
  return templates.ofType(type).some((other) => other.stack === resource.stack && needed.includes(other.id));
}

function tooEarly(templates: Templates, resource: Resource): string | undefined {
  return [TABLE, 'AWS::IAM::Policy'].every((type) => waitsFor(templates, resource, type)) ? undefined : 'does not wait for its table and its policy';
}

function processorsOf(iceberg: Json): Json[] {
  return iceberg.ProcessingConfiguration?.Processors ?? [];
}

/** The alias through which a delivery calls its function. */
function functionAlias(templates: Templates, iceberg: Json, stream: Resource): Resource | undefined {
  const parameters: Json[] = processorsOf(iceberg).find(({ Type }) => Type === 'Lambda')?.Parameters ?? [];
  const arn = parameters.find(({ ParameterName }) => ParameterName === 'LambdaArn')?.ParameterValue;
  return templates.referencesIn(arn, stream.stack).find(({ type }) => type === 'AWS::Lambda::Alias');
}

/** Statements of the policies of a role. */
function policiesOf(templates: Templates, role: Resource): { policy: Resource; statements: Json[] }[] {
  return templates.ofType('AWS::IAM::Policy')
    .filter((policy) => templates.referencesIn(policy.properties.Roles, policy.stack).includes(role))
    .map((policy) => ({ policy, statements: policy.properties.PolicyDocument.Statement }));
}

/** Roles of the functions that make tables: theirs are the first statements of a brain, which make the database `default` where there is none. */
function tableMakers(templates: Templates): Resource[] {
  const functions = templates.ofType(TABLE).flatMap(({ properties, stack }) => templates.referencesIn(properties.ServiceToken, stack));
  return functions.flatMap(({ properties, stack }) => templates.referencesIn(properties.Role, stack));
}

/** A5, and what of B and C is about tables, online and offline. */
export const OFFLINE_TRAPS: Traps = {
  'A5 what feeds the offline tables comes from a Kinesis stream of the online table: DynamoDB has no way to Firehose': {
    rule: (templates) => eachDelivery(templates, (_, stream) => {
      if (stream.properties.DeliveryStreamType !== 'KinesisStreamAsSource') return 'takes direct puts, which nothing of DynamoDB makes';
      const [source] = templates.referencesIn(stream.properties.KinesisStreamSourceConfiguration?.KinesisStreamARN, stream.stack);
      const feeds = templates.ofType(ONLINE).some((table) => (table.properties.Replicas ?? []).some((replica: Json) => (
        templates.referencesIn(replica.KinesisStreamSpecification?.StreamArn, table.stack).includes(source))));
      return !feeds && 'reads a stream that no table feeds';
    }),
    mistake: delivery({}, { DeliveryStreamType: 'DirectPut' }),
  },
  'A5 a delivery from a Kinesis stream has no key of its own: the stream is encrypted': {
    rule: (templates) => each(templates, DELIVERY, ({ properties, stack }) => {
      if (properties.DeliveryStreamType !== 'KinesisStreamAsSource') return undefined;
      if (properties.DeliveryStreamEncryptionConfigurationInput) return 'has a key, which is for direct puts only';
      const [source] = templates.referencesIn(properties.KinesisStreamSourceConfiguration?.KinesisStreamARN, stack);
      return !source?.properties.StreamEncryption?.KeyId && 'reads a stream that is not encrypted';
    }),
    mistake: {
      Stream: { type: DELIVERY, properties: { DeliveryStreamType: 'KinesisStreamAsSource', DeliveryStreamEncryptionConfigurationInput: { KeyType: 'AWS_OWNED_CMK' } } },
    },
  },
  'A5 a delivery appends to exactly one table, which it names': {
    rule: (templates) => eachDelivery(templates, (iceberg) => {
      const tables = iceberg.DestinationTableConfigurationList ?? [];
      if (tables.length !== 1) return `names ${tables.length} tables`;
      if (tables[0].UniqueKeys) return 'has unique keys: Firehose would look the table up when the stream is made, and update rows';
      return iceberg.AppendOnly !== true && 'does not say that it only appends, which cannot be said later';
    }),
    mistake: delivery({ AppendOnly: true }),
  },
  'A5 a delivery and the optimizers come after their table and after their role\'s policy': {
    rule: (templates) => [
      ...eachDelivery(templates, (_, stream) => tooEarly(templates, stream)),
      ...each(templates, OPTIMIZER, (optimizer) => tooEarly(templates, optimizer)),
    ],
    mistake: delivery({}),
  },
  'A5 the function that makes rows changes for a table after the DDL of that table': {
    rule: (templates) => eachDelivery(templates, (iceberg, stream) => {
      const alias = functionAlias(templates, iceberg, stream);
      if (alias === undefined) return undefined;
      if (!waitsFor(templates, alias, TABLE)) return 'makes rows with columns that its table may not have yet';
      return !refersTo(templates, alias.properties.FunctionVersion, alias.stack, 'AWS::Lambda::Version') && 'takes the newest code, whether it knows the table or not';
    }),
    mistake: {
      Alias: { type: 'AWS::Lambda::Alias', properties: { FunctionVersion: '$LATEST' } },
      ...delivery({ ProcessingConfiguration: { Processors: [{ Type: 'Lambda', Parameters: [{ ParameterName: 'LambdaArn', ParameterValue: { Ref: 'Alias' } }] }] } }),
    },
  },
  'A5 a delivery turns change records into rows by a function, within its minute, and names no routing': {
    rule: (templates) => eachDelivery(templates, (iceberg, stream) => {
      const alias = functionAlias(templates, iceberg, stream);
      if (alias === undefined) return 'has no function, through an alias, that makes rows of change records';
      const [fn] = templates.referencesIn(alias.properties.FunctionName, alias.stack);
      if (alias.properties.Name !== iceberg.DestinationTableConfigurationList?.[0]?.DestinationTableName) {
        return `calls its function by ${alias.properties.Name}, which is not its table`;
      }
      if (processorsOf(iceberg).some(({ Type }) => Type === 'MetadataExtraction')) return 'routes its rows';
      return !(fn?.properties.Timeout <= 60) && `gives its function ${fn?.properties.Timeout} s, and Firehose a minute`;
    }),
    mistake: delivery({ ProcessingConfiguration: { Processors: [] } }),
  },
  'A5 a delivery names the account\'s Glue catalog, keeps only what failed, and may do what it must': {
    rule: (templates) => eachDelivery(templates, (iceberg, stream) => {
      const catalog = render(iceberg.CatalogConfiguration?.CatalogArn);
      if (!/^arn:[^:]+:glue:[^:]+:[^:]+:catalog$/.test(catalog.replace(/\$\{\w+::\w+\}/g, 'x'))) return `names the catalog ${catalog}`;
      if (iceberg.s3BackupMode !== 'FailedDataOnly') return 'keeps what did not fail, which Firehose refuses';
      const [role] = templates.referencesIn(iceberg.RoleARN, stream.stack);
      const allowed = role ? policiesOf(templates, role).flatMap(({ statements }) => statements).flatMap(({ Action }) => Action) : [];
      const missing = NEEDED.filter((action) => !allowed.includes(action));
      return missing.length > 0 && `may not ${missing.join(', ')}`;
    }),
    mistake: delivery({ CatalogConfiguration: { CatalogArn: 'arn:aws:glue:us-east-1:111111111111:catalog/none' } }),
  },
  'A5 whoever starts statements in Athena may look at the database named default, and who makes tables may make it': {
    rule: (templates) => templates.ofType('AWS::IAM::Policy').flatMap((policy) => {
      const statements: Json[] = policy.properties.PolicyDocument.Statement;
      const may = (action: string, on: RegExp) => statements.some((statement) => (
        [statement.Action].flat().includes(action) && [statement.Resource].flat().some((arn) => on.test(render(arn)))));
      if (!statements.some(({ Action }) => [Action].flat().includes('athena:StartQueryExecution'))) return [];
      const makes = templates.referencesIn(policy.properties.Roles, policy.stack).some((role) => tableMakers(templates).includes(role));
      const missing = ['glue:GetDatabase', ...makes ? ['glue:CreateDatabase'] : []]
        .filter((action) => !may(action, /:catalog$/) || !may(action, /:database\/default$/));
      return missing.length > 0 ? [finding(policy, `may not ${missing.join(', ')} on the catalog and its database default`)] : [];
    }),
    mistake: {
      Policy: {
        type: 'AWS::IAM::Policy',
        properties: {
          PolicyDocument: {
            Statement: [
              { Action: ['athena:StartQueryExecution'], Resource: '*' },
              { Action: ['glue:GetDatabase'], Resource: ['arn:aws:glue:eu-central-1:111111111111:catalog', 'arn:aws:glue:eu-central-1:111111111111:database/features'] },
            ],
          },
        },
      },
    },
  },
  'A5 Lake Formation\'s settings, which name the administrators of the account, are nobody\'s here': {
    rule: (templates) => templates.ofType('AWS::LakeFormation::DataLakeSettings').map((resource) => finding(resource, 'overwrites the administrators of the data lake')),
    mistake: { Settings: { type: 'AWS::LakeFormation::DataLakeSettings', properties: {} } },
  },
  'A5 an optimizer acts by a role of Glue that may change the table and write the log': {
    rule: (templates) => each(templates, OPTIMIZER, ({ properties, stack }) => {
      const [role] = templates.referencesIn(properties.TableOptimizerConfiguration?.RoleArn, stack);
      if (!role || !render(JSON.stringify(role.properties.AssumeRolePolicyDocument)).includes('glue.amazonaws.com')) return 'has no role that Glue may take';
      const allowed = policiesOf(templates, role).flatMap(({ statements }) => statements).flatMap(({ Action }) => Action);
      const missing = ['glue:UpdateTable', 's3:DeleteObject', 's3:PutObject', 'logs:PutLogEvents'].filter((action) => !allowed.includes(action));
      return missing.length > 0 && `may not ${missing.join(', ')}`;
    }),
    mistake: { Optimizer: { type: OPTIMIZER, properties: {} } },
  },
  'A5 no Iceberg table is a resource of the template: DDL makes them': {
    rule: (templates) => each(templates, 'AWS::Glue::Table', ({ properties }) => (
      properties.OpenTableFormatInput !== undefined && 'would have to be made with its metadata, and is replaced by what DDL evolves')),
    mistake: { Table: { type: 'AWS::Glue::Table', properties: { OpenTableFormatInput: { IcebergInput: {} } } } },
  },
  'A5 every replica of a table names a key of its Region, or none does; warm throughput is not below the least': {
    rule: (templates) => each(templates, ONLINE, ({ properties }) => {
      const keys = (properties.Replicas ?? []).map((replica: Json) => render(replica.SSESpecification?.KMSMasterKeyId));
      if (new Set(keys.map((key: string) => key === '')).size > 1) return 'has keys for some of its replicas only';
      if (new Set(keys).size < keys.length && keys[0] !== '') return 'has one key for several Regions';
      const { ReadUnitsPerSecond: read = 12_000, WriteUnitsPerSecond: write = 4_000 } = properties.WarmThroughput ?? {};
      return (read < 12_000 || write < 4_000) && `asks for ${read} reads and ${write} writes a second`;
    }),
    mistake: { Table: { type: ONLINE, properties: { WarmThroughput: { ReadUnitsPerSecond: 5_000 } } } },
  },
  'B the online table has its key schema and no index: neither can be changed later without a replacement, or one at a time': {
    rule: (templates) => each(templates, ONLINE, ({ properties }) => {
      const keys = (properties.KeySchema ?? []).map((key: Json) => `${key.AttributeName} ${key.KeyType}`);
      if (keys.join() !== 'pk HASH') return `has the keys ${keys.join()}`;
      return properties.GlobalSecondaryIndexes?.length > 0 && 'has indexes';
    }),
    mistake: { Table: { type: ONLINE, properties: { KeySchema: [{ AttributeName: 'id', KeyType: 'HASH' }] } } },
  },
  'C the database of tables that DDL made is retained, and its name is of its stack alone': {
    rule: (templates) => each(templates, 'AWS::Glue::Database', ({ definition, properties }) => {
      if (definition.DeletionPolicy !== 'Retain') return 'is deleted with its stack';
      return !JSON.stringify(properties.DatabaseInput?.Name ?? '').includes('AWS::StackId') && 'has a name that the same stack, made again, finds taken';
    }),
    mistake: { Database: { type: 'AWS::Glue::Database', properties: { DatabaseInput: { Name: 'features' } } } },
  },
};

