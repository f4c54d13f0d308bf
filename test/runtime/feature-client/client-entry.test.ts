/** `thalos-brain/client` as a project of its own has it: found by Node and by TypeScript, and one bundle without any other package. */
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as ts from 'typescript';
import { Binding, OnlineItem } from '../../../src/contract';
import { EntityKey, Feature, FeatureGroup } from '../../../src/features';
import { ROOT } from '../../support/examples';
import { installClient, runIn } from '../../support/installed-client';
import { Peer } from '../adapters-aws/peer.fixture';

const TRIP = FeatureGroup.define('trip', { owner: 'fleet', entityKeys: [EntityKey.string('driver')], features: [Feature.float64('fare')] });

let project: string;
beforeAll(async () => {
  project = mkdtempSync(join(tmpdir(), 'thalos-client-'));
  await installClient(project);
}, 60_000);
afterAll(() => rmSync(project, { recursive: true, force: true }));

describe('in a function', () => {
  /** Keeps items as DynamoDB does, without conditions. */
  let table: Peer;
  beforeEach(async () => {
    const items = new Map<string, object>();
    table = await Peer.start(({ headers, body }) => {
      const asked = JSON.parse(body.toString());
      if (String(headers['x-amz-target']).endsWith('PutItem')) {
        items.set(asked.Item[OnlineItem.PK].S, asked.Item);
        return { body: {} };
      }
      const [name] = Object.keys(asked.RequestItems);
      const found = asked.RequestItems[name].Keys.flatMap((key: Record<string, { S: string }>) => items.get(key[OnlineItem.PK].S) ?? []);
      return { body: { Responses: { [name]: found }, UnprocessedKeys: {} } };
    });
  });
  afterEach(() => table.stop());

  const script = `
    const features = featureClient([${TRIP.toJson()}], { metrics: () => undefined });
    (async () => {
      const put = await features.put('trip', { driver: 'd7', fare: 12.5, event_time: new Date() });
      const bad = await features.put('trip', { driver: 'd8', fare: 'free', event_time: new Date() });
      const found = await features.get('trip', 'd7');
      await features.close();
      console.log(JSON.stringify([put.status, bad.reason, found.values, isRowsFailed(new Error('x'))]));
    })();`;

  test.each([
    ['require', 'handler.cjs', "const { featureClient, isRowsFailed } = require('thalos-brain/client');"],
    ['import', 'handler.mjs', "import { featureClient, isRowsFailed } from 'thalos-brain/client';"],
  ])('that takes it by %s, a row is put and got by the names in the environment', async (_, file, take) => {
    const env = {
      [Binding.FEATURE_TABLE]: 'features', AWS_REGION: 'eu-central-1', AWS_ENDPOINT_URL: table.url, AWS_ACCESS_KEY_ID: 'AKIDEXAMPLE', AWS_SECRET_ACCESS_KEY: 'secret',
    };
    const { printed, ended } = await runIn(project, file, take + script, env);
    expect([JSON.parse(printed), ended]).toEqual([['written', 'WRONG_TYPE', { fare: 12.5 }, false], 0]);
    expect(table.requests.map(({ headers }) => headers['x-amz-target'])).toEqual(['DynamoDB_20120810.PutItem', 'DynamoDB_20120810.BatchGetItem']);
  });

  test('that is not connected, the error says so', async () => {
    const script_ = "try { require('thalos-brain/client').featureClient([]) } catch (error) { console.log(error.message) }";
    expect((await runIn(project, 'lonely.cjs', script_)).printed).toMatch(/^INVALID_CONFIGURATION: FEATURE_TABLE is not set/);
  });
});

test.each([
  ['by exports', { module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext }],
  ['as Node 10 did', { module: ts.ModuleKind.CommonJS, moduleResolution: ts.ModuleResolutionKind.Node10, ignoreDeprecations: '6.0' }],
])('TypeScript that resolves modules %s has its types', (_, resolution: ts.CompilerOptions) => {
  const right = `
    import { type FeatureClient, featureClient, isRowsFailed, type PutOutcome } from 'thalos-brain/client';
    const features: FeatureClient = featureClient([], { writesAtOnce: 4 });
    export const put = async (fare: number): Promise<PutOutcome['status']> => (await features.put('trip', { fare })).status;
    export const fares = async () => (await features.getMany('trip', [['d7']])).map((found) => found?.values.fare);
    export const again = (error: unknown) => (isRowsFailed(error) ? error.outcomes.length : 0);
  `;
  const wrong = "import { featureClient } from 'thalos-brain/client'; featureClient([{ name: 7 }]);";
  const unknown = "import { nothing } from 'thalos-brain/client'; nothing();";
  expect(problemsOf({ right, wrong, unknown }, resolution)).toEqual({
    right: [], wrong: [expect.stringMatching(/'number' is not assignable to type 'string'|missing the following properties/)], unknown: [expect.stringMatching(/no exported member 'nothing'/)],
  });
}, 60_000);

function problemsOf(sources: Record<string, string>, resolution: ts.CompilerOptions): Record<string, string[]> {
  for (const [name, source] of Object.entries(sources)) writeFileSync(join(project, `${name}.ts`), source);
  const types = join(project, 'node_modules', '@types');
  rmSync(types, { recursive: true, force: true });
  // those of Node, which every such project has
  symlinkSync(join(ROOT, 'node_modules', '@types'), types);
  const program = ts.createProgram(Object.keys(sources).map((name) => join(project, `${name}.ts`)), {
    ...resolution, target: ts.ScriptTarget.ES2022, strict: true, noEmit: true, skipLibCheck: true, types: ['node'], typeRoots: [types],
  });
  return Object.fromEntries(Object.keys(sources).map((name) => {
    const found = ts.getPreEmitDiagnostics(program, program.getSourceFile(join(project, `${name}.ts`)));
    return [name, found.map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n'))];
  }));
}
