/** Logical ids are a contract: CloudFormation replaces what changes its id. `test/golden/update.ts --update` writes both files anew. */
import { removeFolders, templatesOf, EXAMPLES } from '../support/examples';
import { ledgerOf, masked, missingFrom, readGolden, readLedger } from '../support/golden';
import { Templates } from '../support/templates';

const UPDATE = 'see test/golden/update.ts';

afterAll(removeFolders);

describe('the ledger', () => {
  const before = { Data: { Table1: 'AWS::DynamoDB::GlobalTable', Manifest1: 'Custom::AWSCDK-EKS-KubernetesResource' } };

  test('names an id that is gone, and one that now is something else', () => {
    expect(missingFrom(before, { Data: { Table2: 'AWS::DynamoDB::GlobalTable', Manifest1: 'AWS::S3::Bucket' } }))
      .toEqual(['Data/Table1 (AWS::DynamoDB::GlobalTable)', 'Data/Manifest1 (Custom::AWSCDK-EKS-KubernetesResource)']);
  });

  test('B names an object of Kubernetes that is gone from its manifest, if kubectl\'s pruning does not know its kind', () => {
    const manifest = (...objects: object[]) => new Templates(new Map([['Serving', {
      Resources: { Manifest: { Type: 'Custom::AWSCDK-EKS-KubernetesResource', Properties: { PruneLabel: 'manifest=runtime', Manifest: JSON.stringify(objects) } } },
    }]]));
    const [policy, pods] = [{ kind: 'NetworkPolicy', metadata: { name: 'old', namespace: 'n' } }, { kind: 'Deployment', metadata: { name: 'd', namespace: 'n' } }];
    expect(missingFrom(ledgerOf(manifest(policy, pods)), ledgerOf(manifest()))).toEqual(['objects that kubectl leaves behind/NetworkPolicy/n/old (manifest=runtime)']);
    expect(missingFrom(ledgerOf(manifest(policy, pods)), ledgerOf(manifest(policy)))).toEqual([]);
  });

  test('does not mind a new id', () => {
    expect(missingFrom(before, { Data: { ...before.Data, Table2: 'AWS::DynamoDB::GlobalTable' } })).toEqual([]);
  });
});

test('a golden template masks the hashes of assets and nothing else', () => {
  expect(masked({ S3Key: `${'0f'.repeat(32)}.zip`, Name: '0f0f' })).toEqual({ S3Key: '<asset hash>.zip', Name: '0f0f' });
});

describe.each(EXAMPLES)('examples/%s', (example) => {
  let templates: Templates;

  beforeAll(async () => {
    templates = await templatesOf(example);
  }, 120_000);

  test(`keeps the logical id of everything stateful, of every manifest and every chart, and every object that kubectl would leave behind (${UPDATE})`, () => {
    const ledger = readLedger()[example];

    expect(Object.keys(ledger ?? {})).not.toEqual([]);
    expect(missingFrom(ledger, ledgerOf(templates))).toEqual([]);
  });

  test(`has entered everything new into the ledger (${UPDATE})`, () => {
    expect(missingFrom(ledgerOf(templates), readLedger()[example] ?? {})).toEqual([]);
  });

  test(`synthesizes the golden templates (${UPDATE})`, () => {
    for (const [stack, template] of templates.byStack) {
      expect({ stack, template: masked(template) }).toEqual({ stack, template: readGolden(example, stack) });
    }
  });
});
