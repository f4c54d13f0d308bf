/** A synth is a function of the app: the same bytes each time, from any environment, without a network. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { App, Stack, type Environment } from 'aws-cdk-lib';
import { Brain, BrainEnvironment, BrainStage } from '../../src';
import { EXAMPLES, removeFolders, ROOT, synthesize, synthesizeInChild, temporaryFolder, type Context, type Example } from '../support/examples';
import { filesBelow, parseJsonText, Templates, visit, type Json } from '../support/templates';

const MINUTES = 60_000;

/** Digest of every file of an assembly. */
function digests(directory: string): { [file: string]: string } {
  return Object.fromEntries(filesBelow(directory).map((file) => [relative(directory, file), createHash('sha256').update(readFileSync(file)).digest('hex')]));
}

/** Two machines that differ in everything a synth might look at. */
const HERE = { TZ: 'UTC', LANG: 'C', HOME: temporaryFolder() };
const ELSEWHERE = {
  TZ: 'Pacific/Auckland',
  LANG: 'de_DE.UTF-8',
  USER: 'somebody',
  AWS_REGION: 'sa-east-1',
  AWS_PROFILE: 'other',
  CDK_DEFAULT_ACCOUNT: '999999999999',
  CDK_DEFAULT_REGION: 'sa-east-1',
  NODE_OPTIONS: `--require ${join(ROOT, 'test/support/no-network.cjs')}`,
};

async function inChild(example: Example, env: { [name: string]: string }): Promise<string> {
  const outdir = temporaryFolder();
  const { code, output } = await synthesizeInChild({ app: example, gate: 'none', outdir, env });
  if (code !== 0) throw new Error(output);
  return outdir;
}

afterAll(removeFolders);

describe.each(EXAMPLES)('examples/%s', (example) => {
  let first: string;

  beforeAll(async () => {
    first = await inChild(example, HERE);
  }, 2 * MINUTES);

  test('synthesizes the same bytes from another environment, without a network', async () => {
    expect(digests(await inChild(example, ELSEWHERE))).toEqual(digests(first));
  }, 2 * MINUTES);

  test('writes brain.json and the manifests into the assembly', () => {
    const files = filesBelow(first).map((file) => relative(first, file));

    expect(files).toEqual(expect.arrayContaining([expect.stringMatching(/thalos-brain\/[^/]+\/brain\.json$/), expect.stringMatching(/thalos-brain\/[^/]+\/manifests\/.+\.yaml$/)]));
  });

  test('asks for no lookup', () => {
    const manifests = filesBelow(first).filter((file) => file.endsWith('manifest.json')).map((file) => JSON.parse(readFileSync(file, 'utf8')));

    expect(manifests.length).toBeGreaterThan(0);
    expect(manifests.flatMap((manifest) => manifest.missing ?? [])).toEqual([]);
  });

  test('names no path of the machine that synthesized it', () => {
    // *.metadata.json holds CDK's own stack traces, which name source files and never leave the machine.
    const naming = filesBelow(first).filter((file) => /(template|brain)\.json$|\.yaml$/.test(file))
      .filter((file) => [first, ROOT].some((path) => readFileSync(file, 'utf8').includes(path)));

    expect(naming.map((file) => relative(first, file))).toEqual([]);
  });

  test('does not depend on the feature flags of its app', async () => {
    const [on, off] = [await normalized(example, ALL_ON), await normalized(example, ALL_OFF)];

    expect(Object.keys(on)).toEqual(Object.keys(off));
    for (const stack of Object.keys(on)) expect({ stack, template: on[stack] }).toEqual({ stack, template: off[stack] });
  }, 2 * MINUTES);
});

describe('where a stack is deployed', () => {
  const concrete: Environment = { account: '123456789012', region: 'eu-central-1' };

  test.each([
    ['no region', undefined],
    ['a region', { region: 'eu-central-1' }],
    ['an account and a region', concrete],
  ])('a brain synthesizes for %s without a lookup', (_where, env) => {
    const app = new App({ analyticsReporting: false, outdir: temporaryFolder() });
    new Brain(new Stack(app, 'Stack', { env }), 'Brain', { environment: BrainEnvironment.dev() });

    expect(app.synth().manifest.missing).toBeUndefined();
  }, MINUTES);

  test('a stage synthesizes for an account and a region without a lookup', () => {
    const app = new App({ analyticsReporting: false, outdir: temporaryFolder() });
    new BrainStage(app, 'Stage', { environment: BrainEnvironment.prod(), env: concrete });

    const assembly = app.synth();

    const manifests = [assembly.manifest, ...assembly.nestedAssemblies.map((nested) => nested.nestedAssembly.manifest)];
    expect(manifests.flatMap(({ missing }) => missing ?? [])).toEqual([]);
  }, MINUTES);
});

/**
 * Flags that are the app's own business: what they change is not a property of ours.
 * Every other recommended flag must leave the templates as they are.
 */
const APP_FLAGS: { [flag: string]: string } = {
  '@aws-cdk/core:enablePartitionLiterals': 'writes `aws` for ${AWS::Partition} where the region is known: the same ARN',
  '@aws-cdk/core:target-partitions': 'as above',
  '@aws-cdk/core:validateAgainstDefaultRules': 'changes no template; test/templates/validators.test.ts turns it on',
  '@aws-cdk/core:annotationsInValidationReport': 'changes no template',
  '@aws-cdk/aws-lambda:recognizeLayerVersion': 'orders the two layers of CDK\'s own kubectl handler, which share no path',
  '@aws-cdk/core:enableAdditionalMetadataCollection': 'changes no template, only what CDK reports about itself',
};

const RECOMMENDED: Context = JSON.parse(readFileSync(join(dirname(require.resolve('aws-cdk-lib/package.json')), 'recommended-feature-flags.json'), 'utf8'));
const OURS = Object.entries(RECOMMENDED).filter(([flag]) => !Object.hasOwn(APP_FLAGS, flag));
const ALL_ON: Context = Object.fromEntries(OURS);
const ALL_OFF: Context = Object.fromEntries(OURS.map(([flag, value]) => [flag, typeof value === 'boolean' ? false : undefined]));

async function normalized(example: Example, context: Context): Promise<{ [stack: string]: Json }> {
  const templates = Templates.fromAssembly(await synthesize(example, context));
  return Object.fromEntries([...templates.byStack].map(([stack, template]) => [stack, withoutStatementOrder(template)]));
}

/**
 * `@aws-cdk/aws-iam:minimizePolicies` merges and reorders statements that mean the same, in every document that CDK itself writes
 * (roles of its handlers, grants): the one difference that is allowed. Each document is compared as the set of what it says.
 */
function withoutStatementOrder(template: Json): Json {
  const copy = structuredClone(template);
  visit(copy, (node) => {
    if (Array.isArray(node.Statement)) node.Statement = [...new Set<string>(node.Statement.flatMap(atoms))].sort();
    for (const [name, value] of Object.entries(node)) {
      const document = /PolicyDocument$/.test(name) ? parseJsonText(value) : undefined;
      if (document?.Statement) node[name] = [...new Set<string>(document.Statement.flatMap(atoms))].sort();
    }
  });
  return copy;
}

/** A statement as single (action, resource, principal) facts. */
function atoms({ Action, Resource, Principal, ...rest }: Json): string[] {
  const list = (value: Json): Json[] => (value === undefined ? [undefined] : [value].flat());
  const principals = Principal && typeof Principal === 'object'
    ? Object.entries<Json>(Principal).flatMap(([kind, value]) => list(value).map((entry) => ({ [kind]: entry }))) : [Principal];
  return list(Action).flatMap((action) => list(Resource).flatMap((resource) => principals.map((principal) =>
    JSON.stringify({ ...rest, Sid: undefined, action, resource, principal }))));
}
