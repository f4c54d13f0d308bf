/** References between planes go one way, foundation → data → serving → operations, or an update cannot roll a plane by itself. */
import { readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import Ajv from 'ajv';
import { CfnOutput, CfnResource, App, Stack } from 'aws-cdk-lib';
import { BRAIN_CONFIGURATION_SCHEMA } from '../../src/contract';
import { EXAMPLES, removeFolders, synthesize } from '../support/examples';
import { filesBelow, Templates } from '../support/templates';

/** Stacks of a stage in the order in which they deploy. The vector store's stack belongs to the data plane. */
const ORDER = ['Foundation', 'Data', 'Vectors', 'Serving', 'Operations'];

/** `Stage/Serving` → 3. */
function rank(stack: string): number {
  return ORDER.findIndex((plane) => new RegExp(`${plane}[^/]*$`).test(stack));
}

/** `A reads B`, where B deploys after A. */
function backwards(templates: Templates): string[] {
  return [...templates.byStack.keys()].flatMap((stack) => [...templates.stacksReadBy(stack)]
    .filter((read) => read !== stack && rank(read) >= rank(stack)).map((read) => `${stack} reads ${read}`));
}

afterAll(removeFolders);

test('a reference against the order is found', () => {
  const app = new App();
  const [data, serving] = ['Data', 'Serving'].map((plane) => new Stack(app, plane));
  const later = new CfnResource(serving, 'Later', { type: 'AWS::SNS::Topic' });
  new CfnOutput(data, 'Output', { value: later.ref });

  expect(backwards(Templates.fromStacks(data, serving))).toEqual(['Data reads Serving']);
});

describe('examples/production', () => {
  let templates: Templates;
  let assembly: string;

  beforeAll(async () => {
    assembly = await synthesize('production');
    templates = Templates.fromAssembly(assembly);
  }, 120_000);

  test('has one stack for each plane, and one more for the vector store', () => {
    expect([...templates.byStack.keys()].map((stack) => ORDER[rank(stack)]).sort()).toEqual([...ORDER].sort());
  });

  test('has no reference to a stack that deploys later', () => {
    expect(backwards(templates)).toEqual([]);
  });

  test('declares the stacks\' dependencies in the same direction', () => {
    const manifests = filesBelow(assembly).filter((file) => file.endsWith('manifest.json')).map((file) => JSON.parse(readFileSync(file, 'utf8')));
    const stacks: [string, { type: string; dependencies?: string[] }][] = manifests.flatMap((manifest) => Object.entries(manifest.artifacts));
    const against = stacks.filter(([, artifact]) => artifact.type === 'aws:cloudformation:stack').flatMap(([id, { dependencies = [] }]) =>
      dependencies.filter((dependency) => !dependency.endsWith('.assets') && rank(dependency) >= rank(id)).map((dependency) => `${id} waits for ${dependency}`));

    expect(against).toEqual([]);
  });

  test('keeps the domain in a stack of its own: an OpenSearch upgrade rolls alone', () => {
    const [domain] = templates.ofType('AWS::OpenSearchService::Domain');

    expect(ORDER[rank(domain.stack)]).toBe('Vectors');
    expect(templates.ofType('AWS::DynamoDB::GlobalTable', 'AWS::EKS::Cluster').map(({ stack }) => stack)).not.toContain(domain.stack);
  });
});

describe.each(EXAMPLES)('brain.json of examples/%s', (example) => {
  let files: string[];

  beforeAll(async () => {
    const assembly = await synthesize(example);
    files = filesBelow(assembly).filter((file) => /thalos-brain\/[^/]+\/brain\.json$/.test(relative(assembly, file))).map((file) => join(file));
  }, 120_000);

  test('is one file, and valid', () => {
    expect(files).toHaveLength(1);
    const validate = new Ajv({ strict: false }).compile(BRAIN_CONFIGURATION_SCHEMA);

    validate(JSON.parse(readFileSync(files[0], 'utf8')));

    expect(validate.errors).toBeNull();
  });

  test('holds declarations only: no token, no physical name, no account', () => {
    const text = readFileSync(files[0], 'utf8');

    expect(text).not.toMatch(/\$\{Token\[|\{"Ref"|Fn::|<<|arn:aws|amazonaws\.com|\b\d{12}\b/);
  });
});
