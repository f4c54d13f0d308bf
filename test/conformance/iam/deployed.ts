/** A cloud assembly as if it were deployed: every reference is a physical name, made up from the logical one. */
import type { Json, Resource, Templates } from '../../support/templates';

const PARTITION = 'aws';

/** Attributes that are no ARN, by type: what the resource's own name or address is (CloudFormation template reference, "Return values"). */
const ATTRIBUTES: { readonly [type: string]: { readonly [attribute: string]: (name: string, region: string) => string } } = {
  'AWS::OpenSearchService::Domain': { DomainEndpoint: (name, region) => `vpc-${name}.${region}.es.amazonaws.com` },
  'AWS::EKS::Cluster': { ClusterSecurityGroupId: (name) => `sg-${name}`, Endpoint: (name) => `https://${name}.eks.amazonaws.com` },
};

/** Forms of ARNs that are not `arn:…:<service>:<region>:<account>:<type>/<name>` (service authorization reference, "Resource types"). */
const ARNS: { readonly [type: string]: (name: string, region: string, account: string) => string } = {
  'AWS::IAM::Role': (name, _, account) => `arn:${PARTITION}:iam::${account}:role/${name}`,
  'AWS::S3::Bucket': (name) => `arn:${PARTITION}:s3:::${name}`,
  'AWS::DynamoDB::GlobalTable': (name, region, account) => `arn:${PARTITION}:dynamodb:${region}:${account}:table/${name}`,
  'AWS::OpenSearchService::Domain': (name, region, account) => `arn:${PARTITION}:es:${region}:${account}:domain/${name}`,
  'AWS::KinesisFirehose::DeliveryStream': (name, region, account) => `arn:${PARTITION}:firehose:${region}:${account}:deliverystream/${name}`,
  'AWS::Logs::LogGroup': (name, region, account) => `arn:${PARTITION}:logs:${region}:${account}:log-group:${name}:*`,
  'AWS::Lambda::Function': (name, region, account) => `arn:${PARTITION}:lambda:${region}:${account}:function:${name}`,
};

/** Properties that hold a resource's physical name. */
const NAMES = ['BucketName', 'TableName', 'DomainName', 'LogGroupName', 'RoleName', 'FunctionName', 'DeliveryStreamName', 'EndpointName'];
/** Types whose `Ref` is their ARN. */
const REF_IS_ARN = /^AWS::(SageMaker::(Endpoint|EndpointConfig|Model)|SecretsManager::Secret|SNS::Topic|ElasticLoadBalancingV2::)/;

export class Deployed {
  constructor(private readonly templates: Templates, readonly account: string, readonly region: string) {}

  get resources(): readonly Resource[] {
    return this.templates.resources;
  }

  ofType(...types: string[]): Resource[] {
    return this.templates.ofType(...types);
  }

  /** The name that `Ref` gives for most types. */
  nameOf({ id, properties, stack }: Resource): string {
    const given = NAMES.map((name) => properties[name]).find((value) => value !== undefined);
    return given === undefined ? id.toLowerCase() : this.text(given, stack);
  }

  arnOf(resource: Resource): string {
    const [, service, kind] = resource.type.split('::');
    const name = this.nameOf(resource);
    const form = ARNS[resource.type];
    return form ? form(name, this.region, this.account) : `arn:${PARTITION}:${service.toLowerCase()}:${this.region}:${this.account}:${kind.toLowerCase()}/${name}`;
  }

  /** The resource that has this ARN. */
  withArn(type: string, arn: string): Resource | undefined {
    return this.ofType(type).find((resource) => this.arnOf(resource) === arn);
  }

  text(value: Json, stack: string): string {
    return String(this.resolve(value, stack));
  }

  /** A value of a template with everything that CloudFormation would fill in. */
  resolve(value: Json, stack: string): Json {
    if (value === null || typeof value !== 'object') return value;
    if (Array.isArray(value)) return value.map((each) => this.resolve(each, stack)).filter((each) => each !== undefined);
    const [[name, argument] = ['', undefined], ...others] = Object.entries<Json>(value);
    if (others.length === 0 && (name === 'Ref' || name.startsWith('Fn::'))) return this.intrinsic(name, argument, stack);
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, this.resolve(each, stack)]).filter(([, each]) => each !== undefined));
  }

  private intrinsic(name: string, argument: Json, stack: string): Json {
    const resolved = () => this.resolve(argument, stack);
    switch (name) {
      case 'Ref': return this.reference(argument, stack);
      case 'Fn::GetAtt': return this.attribute([argument].flat().join('.'), stack);
      case 'Fn::Join': return (resolved()[1] as string[]).join(argument[0]);
      case 'Fn::Split': return this.text(argument[1], stack).split(argument[0]);
      case 'Fn::Select': return resolved()[1][Number(resolved()[0])];
      case 'Fn::Base64': return Buffer.from(resolved()).toString('base64');
      case 'Fn::GetAZs': return ['a', 'b', 'c'].map((letter) => `${this.region}${letter}`);
      case 'Fn::Sub': return this.substituted([argument].flat(), stack);
      case 'Fn::ImportValue': return this.exported(this.text(argument, stack));
      default: throw new Error(`nobody has taught this test what ${name} is`);
    }
  }

  private substituted([text, variables = {}]: Json[], stack: string): string {
    return text.replace(/\$\{([^!}]+)\}/g, (_: string, name: string) => {
      if (Object.hasOwn(variables, name)) return this.text(variables[name], stack);
      return name.includes('.') ? this.attribute(name, stack) : this.reference(name, stack);
    });
  }

  private exported(name: string): Json {
    for (const [stack, { Outputs = {} }] of this.templates.byStack) {
      for (const output of Object.values<Json>(Outputs)) {
        if (output.Export && this.text(output.Export.Name, stack) === name) return this.resolve(output.Value, stack);
      }
    }
    throw new Error(`no stack exports '${name}'`);
  }

  private reference(id: string, stack: string): Json {
    const pseudo: { readonly [name: string]: string | undefined } = {
      'AWS::AccountId': this.account,
      'AWS::Region': this.region,
      'AWS::Partition': PARTITION,
      'AWS::URLSuffix': 'amazonaws.com',
      'AWS::StackName': stack,
      'AWS::StackId': `arn:${PARTITION}:cloudformation:${this.region}:${this.account}:stack/${stack.split('/').at(-1)}/0`,
      'AWS::NoValue': undefined,
    };
    if (Object.hasOwn(pseudo, id)) return pseudo[id];
    const parameter = this.templates.byStack.get(stack).Parameters?.[id];
    if (parameter) return parameter.Default;
    const resource = this.find(id, stack);
    return REF_IS_ARN.test(resource.type) ? this.arnOf(resource) : this.nameOf(resource);
  }

  private attribute(path: string, stack: string): string {
    const [id, ...rest] = path.split('.');
    const attribute = rest.join('.');
    const resource = this.find(id, stack);
    const known = ATTRIBUTES[resource.type]?.[attribute];
    if (known) return known(this.nameOf(resource), this.region);
    return attribute.endsWith('Arn') ? this.arnOf(resource) : `${this.nameOf(resource)}-${attribute.toLowerCase()}`;
  }

  private find(id: string, stack: string): Resource {
    const resource = this.resources.find((each) => each.id === id && each.stack === stack);
    if (!resource) throw new Error(`${stack} has no resource '${id}'`);
    return resource;
  }
}
