/**
 * Both gates over both examples, and cdk-preflight over a brain in each environment too, each in a process of its own (half a GB), one after the other.
 * Unit tests run without them.
 */
import { removeFolders, synthesizeInChild, temporaryFolder, EXAMPLES, type ChildSynth } from '../support/examples';
import { PROFILES } from '../support/profiles';

const MINUTES = 60_000;

const through = (gate: ChildSynth['gate'], app: ChildSynth['app']) => synthesizeInChild({ app, gate, outdir: temporaryFolder() });

afterAll(removeFolders);

describe('the CloudFormation validator with @aws-cdk/core:validateAgainstDefaultRules', () => {
  test('refuses a template with a property that the schema does not know', async () => {
    const { code, output } = await through('cloudformation', 'seeded-schema-error');

    expect(output).toContain('BucketNam');
    expect(code).not.toBe(0);
  }, 2 * MINUTES);

  test.each(EXAMPLES)('finds no error in examples/%s', async (example) => {
    const { code, output } = await through('cloudformation', example);

    expect(errorsIn(output)).toEqual([]);
    expect({ code, output: code ? output : '' }).toEqual({ code: 0, output: '' });
  }, 4 * MINUTES);
});

describe('cdk-preflight in enforce mode', () => {
  test.each(['seeded-deploy-error', 'seeded-deploy-error-in-stage'] as const)('refuses a template that AWS would refuse at deploy (%s)', async (app) => {
    const { code, output } = await through('preflight', app);

    expect(output).toContain('cdk-preflight::pf-elbv2-lb-idle-timeout-range');
    expect(code).not.toBe(0);
  }, 2 * MINUTES);

  test.each(EXAMPLES)('finds no error in examples/%s', async (example) => {
    const { code, output } = await through('preflight', example);

    expect(errorsIn(output)).toEqual([]);
    expect({ code, output: code ? output : '' }).toEqual({ code: 0, output: '' });
  }, 4 * MINUTES);

  test.each(PROFILES)('finds no error in a %s brain', async (profile) => {
    const { code, output } = await through('preflight', `profile-${profile}`);

    expect(errorsIn(output)).toEqual([]);
    expect({ code, output: code ? output : '' }).toEqual({ code: 0, output: '' });
  }, 4 * MINUTES);
});

/** The lines of a report that say what is wrong and where. */
function errorsIn(output: string): string[] {
  const lines = output.split('\n');
  return lines.flatMap((line, index) => (/^(ERROR|FATAL)\b/.test(line) ? [`${line} ${lines[index + 1] ?? ''}`] : []));
}
