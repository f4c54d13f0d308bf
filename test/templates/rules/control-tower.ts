/** Control Tower's proactive controls, as the Guard rules that AWS publishes; and the controls that a brain breaks on purpose. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { CfnGuardValidator } from '@cdklabs/cdk-validator-cfnguard';
import type { Profile } from '../../support/profiles';
import { Json, render, Templates } from '../../support/templates';

/** A control that one resource of one stack breaks. */
export interface ControlFinding {
  /** `S3.PR.9` of `CT.S3.PR.9` (Control Tower controls reference guide). */
  readonly control: string;
  /** `<stack>/<logical id>`; Guard names no resource for some checks, and then it is the stack alone. */
  readonly where: string;
  /** What the control asks for. */
  readonly asks: string;
}

/** A control that is broken on purpose, and by what. */
export interface Acceptance {
  readonly control: string;
  readonly where: RegExp;
  /** @default - in all three environments */
  readonly only?: readonly Profile[];
  /** Why the control does not fit, and what holds in its place. */
  readonly reason: string;
}

/** Every finding of Guard in templates. */
export function controlFindings(templates: Templates): ControlFinding[] {
  const folder = mkdtempSync(join(tmpdir(), 'thalos-brain-guard-'));
  try {
    const files = [...templates.byStack].map(([stack, template]) => {
      const file = join(folder, `${basename(stack)}.json`);
      writeFileSync(file, JSON.stringify(asDeployed(template)));
      return file;
    });
    // some MB of JSON for one brain
    const guard = new CfnGuardValidator({ maxBuffer: 256 * 1024 * 1024 });
    const { violations } = guard.validate({ appConstruct: undefined as never, templatePaths: files });
    return violations.flatMap(({ description, ruleName, violatingResources }) => violatingResources.map(({ resourceLogicalId, templatePath }) => {
      const [, control = ruleName, asks = description] = /^\[CT\.([A-Z0-9.]+)\]: (.*)$/.exec(description) ?? [];
      const stack = basename(templatePath ?? '').replace(/\.json$/, '');
      return { control, where: resourceLogicalId ? `${stack}/${resourceLogicalId}` : stack, asks };
    }));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * A template as Control Tower's hooks see it: with texts where CloudFormation has read exports of other stacks. References inside of the stack stay,
 * since the rules follow them.
 */
function asDeployed(value: Json): Json {
  if (value === null || typeof value !== 'object') return value;
  if (Array.isArray(value)) return value.map(asDeployed);
  if (value['Fn::ImportValue'] !== undefined || value['Fn::GetStackOutput'] !== undefined) return render(value);
  return Object.fromEntries(Object.entries(value).map(([key, child]) => [key, asDeployed(child)]));
}

/** Log buckets: of the artifacts, of the load balancer, of the snapshots. */
const LOG_BUCKETS = /(Artifacts|EdgeBackend|VectorsSnapshots)AccessLogs[0-9A-F]{8}$/;

/** One entry per control and reason; one that accepts nothing any more fails its test. */
export const ACCEPTED: readonly Acceptance[] = [
  {
    control: 'APIGATEWAY.PR.1',
    where: /EdgeStage/,
    reason: 'execution logs need a role that an account has once for all its APIs, and write headers and bodies; the stage has access logs',
  },
  {
    control: 'CLOUDWATCH.PR.2',
    where: /Logs|Errors|Metrics|Application|Dataplane|Host/,
    only: ['dev', 'staging'],
    reason: 'dev keeps logs for two weeks and staging for three months, which BrainEnvironment says; prod keeps them for a year',
  },
  {
    control: 'EC2.PR.10',
    where: /GpuNodeGroupsLaunchTemplate/,
    reason: 'nothing decides by EC2\'s own metrics: repair follows the node monitoring agent, scaling the demand at the service',
  },
  {
    control: 'ELASTICLOADBALANCING.PR.5',
    where: /EdgeBackend/,
    only: ['dev'],
    reason: 'a dev brain can be deleted in one go',
  },
  {
    control: 'KMS.PR.3',
    where: /Foundation/,
    reason: 'no policy of ours lets anybody make grants but Auto Scaling, for AWS resources only, and the control plane; a denial for all other callers '
      + 'would be on trust that each service of each region passes the two conditions',
  },
  {
    control: 'LAMBDA.PR.2',
    where: /AuthorizerPermission/,
    reason: 'the rule reads no ARN that is joined from pieces; the permission names the one authorizer of the one API that may call',
  },
  {
    control: 'LAMBDA.PR.3',
    where: /AuthorizerFunction/,
    reason: 'fetches the keys of an issuer on the internet, and needs nothing inside of the VPC',
  },
  {
    control: 'LAMBDA.PR.3',
    where: /(ServiceLinkedRolesHandler|RolloutSeed)Function/,
    reason: 'call public APIs of IAM and AppConfig once at deploy, before and without the VPC',
  },
  {
    control: 'LAMBDA.PR.3',
    where: /OfflineTablesHandler|OfflineDeliveryTransform/,
    reason: 'the one calls Athena at deploy; the other calls nobody: it turns the records that Firehose hands it into rows',
  },
  {
    control: 'LAMBDA.PR.3',
    where: /Backfill(Planner|Writer|Compare)/,
    reason: 'call DynamoDB and S3 by their public addresses, over TLS, with roles that name table and buckets; the planner calls nobody',
  },
  {
    control: 'OPENSEARCH.PR.16',
    where: /Vectors/,
    reason: 'the rule knows only the older of the two policies with TLS 1.2; ours has it with forward secrecy, and TLS 1.3',
  },
  { control: 'S3.PR.2', where: LOG_BUCKETS, reason: 'a bucket of access logs would log its own log' },
  {
    control: 'S3.PR.4',
    where: /AccessLogs|Artifacts|BackfillBucket|CaptureBucket|OfflineBucket|QualityQuarantine|TrainingSets|VectorSource|VectorsSnapshots/,
    reason: 'nobody listens: models are released by documents, tables and snapshots have catalogs of their own, not the arrival of objects',
  },
  {
    control: 'S3.PR.9',
    where: /AccessLogs|Artifacts|BackfillBucket|CaptureBucket|OfflineBucket|QualityQuarantine|TrainingSets|VectorSource|VectorsSnapshots/,
    reason: 'captured payloads, features and refused rows must be erasable when a person asks; logs, artifacts and snapshots expire; compaction removes files of tables; '
      + 'training sets are written once by the policy of their bucket; vectors may be about people too',
  },
  { control: 'S3.PR.10', where: /EdgeBackendAccessLogs/, reason: 'load balancers deliver to buckets that S3 encrypts with its own key, and to no other' },
];
