/** Control Tower's Guard rules over a brain in each environment. */
import { App, Stack } from 'aws-cdk-lib';
import { CfnBucket } from 'aws-cdk-lib/aws-s3';
import { removeFolders } from '../support/examples';
import { type Profile, PROFILES, synthesizeProfile } from '../support/profiles';
import { Templates } from '../support/templates';
import { ACCEPTED, controlFindings, type Acceptance, type ControlFinding } from './rules/control-tower';

const MINUTES = 60_000;
const found = new Map<Profile, ControlFinding[]>();

const findingsOf = (profile: Profile) => {
  if (!found.has(profile)) found.set(profile, controlFindings(synthesizeProfile(profile).templates));
  return found.get(profile)!;
};
const accepts = ({ control, where, only = PROFILES }: Acceptance, profile: Profile) => (finding: ControlFinding) =>
  only.includes(profile) && finding.control === control && where.test(finding.where);

afterAll(removeFolders);

test('Guard refuses a bucket that may become public', () => {
  const stack = new Stack(new App(), 'Seeded');
  new CfnBucket(stack, 'Bucket');

  expect(controlFindings(Templates.fromStacks(stack))).toContainEqual(
    expect.objectContaining({ control: 'S3.PR.1', where: 'Seeded/Bucket' }),
  );
});

test('Guard follows references to other stacks, and refuses a log group without a key all the same', () => {
  const log = { Type: 'AWS::Logs::LogGroup', Properties: { RetentionInDays: 365 } };
  const encrypted = { ...log, Properties: { ...log.Properties, KmsKeyId: { 'Fn::ImportValue': 'Key' } } };
  const findings = controlFindings(new Templates(new Map([['Seeded', { Resources: { Plain: log, Encrypted: encrypted } }]])));

  expect(findings.map(({ control, where }) => ({ control, where }))).toEqual([{ control: 'CLOUDWATCH.PR.3', where: 'Seeded/Plain' }]);
});

test.each(PROFILES)('a %s brain breaks no control of Control Tower but the accepted ones', (profile) => {
  expect(findingsOf(profile).filter((finding) => !ACCEPTED.some((acceptance) => accepts(acceptance, profile)(finding)))).toEqual([]);
}, 3 * MINUTES);

test('everything that is accepted is still found, in every environment that it is accepted in', () => {
  const idle = ACCEPTED.flatMap((acceptance) => (acceptance.only ?? PROFILES)
    .filter((profile) => !findingsOf(profile).some(accepts(acceptance, profile)))
    .map((profile) => `${acceptance.control} ${acceptance.where} in ${profile}`));

  expect(idle).toEqual([]);
}, 6 * MINUTES);
