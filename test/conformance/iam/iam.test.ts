/** Every call that the deployed code makes is allowed by the synthesized policies, in every environment, and what an intruder would do is not. */
import { Access, type NamedPolicy, type Question, type Simulation } from './access';
import { attacks } from './attacks';
import { operationsInSource, UNSENT } from './commands';
import { Deployed } from './deployed';
import { judge } from './simulator';
import { connectMaker, trainingSetMaker } from './training-sets';
import { functions, inferenceService, lambdaFunction, modelAgents, type Workload } from './workloads';
import { Namespace } from '../../../src/contract';
import { removeFolders } from '../../support/examples';
import { ACCOUNT, type Profile, PROFILES, REGION, synthesizeProfile } from '../../support/profiles';

jest.setTimeout(300_000);

/** What the policies of a workload leave to be asked, and what an intruder would. */
interface Case {
  readonly access: Access;
  readonly workloads: readonly Workload[];
}

const say = ({ role, action, resource }: Question) => `${role.split('/').at(-1)}: ${action} on ${resource}`;
const EVERYTHING: NamedPolicy = { name: 'everything', policy: { Version: '2012-10-17', Statement: [{ Effect: 'Allow', Action: '*', Resource: '*' }] } };

const legitimate = ({ access, workloads }: Case) => workloads.flatMap(({ role, calls }) => calls.flatMap((call) => access.questions(role, call)));

const hostile = ({ access }: Case): Question[] => attacks(access.deployed).flatMap(({ actions, resources, context = {}, owner, except }) => (
  access.roles().filter((role) => !except?.roles.test(role)).flatMap((role) => actions.flatMap((action) => (
    resources.map((resource) => ({ role, action, resource, context, owner }))
  )))
));

/** The questions whose verdict is another one. */
function others(access: Access, questions: readonly Question[], expected: RegExp, change: Partial<Simulation> = {}): string[] {
  const verdicts = judge(questions.map((question) => ({ ...access.simulation(question), ...change })));
  return questions.flatMap((question, at) => {
    const { result, error } = verdicts[at];
    return expected.test(result ?? '') ? [] : [`${say(question)}: ${result ?? error}`];
  });
}

async function caseOf(profile: Profile): Promise<Case> {
  const { directory, templates } = synthesizeProfile(profile, connectMaker);
  const deployed = new Deployed(templates, ACCOUNT, REGION);
  const workloads = await Promise.all([
    inferenceService(deployed), ...modelAgents(deployed), ...functions(deployed).map((fn) => lambdaFunction(deployed, fn, directory)),
    trainingSetMaker(deployed),
  ]);
  return { access: new Access(deployed), workloads };
}

afterAll(removeFolders);

describe.each(PROFILES)('in %s', (profile: Profile) => {
  let given: Case;

  beforeAll(async () => {
    given = await caseOf(profile);
  });

  test('every call that the code makes is allowed, and so is the use of the key of what is encrypted', () => {
    expect(others(given.access, legitimate(given), /^Allowed$/)).toEqual([]);
  });

  test('nobody may do what an intruder would', () => {
    expect(others(given.access, hostile(given), /Denied$/)).toEqual([]);
  });

  test('a pod gets the role of its own service account, and no other', () => {
    const { access } = given;
    const associations = access.deployed.ofType('AWS::EKS::PodIdentityAssociation').map(({ properties, stack }) => ({
      role: access.deployed.text(properties.RoleArn, stack), of: `${properties.Namespace}/${properties.ServiceAccount}`,
    })).filter(({ of }) => [Namespace.INFERENCE, Namespace.RUNTIME].some((namespace) => of.startsWith(`${namespace}/`)));
    const pods = [...associations.map(({ of }) => of), ...Object.values(Namespace).map((namespace) => `${namespace}/default`), 'default/inference-service'];
    const asked = associations.flatMap(({ role, of: own }) => pods.map((pod) => ({ role, own, pod })));
    const verdicts = judge(asked.map(({ role, pod }) => access.assumption(role, pod.split('/')[0], pod.split('/')[1])));
    const assumed = asked.filter((_, at) => verdicts[at].result === 'Allowed').map(({ role, pod }) => `${pod} ${role}`);
    expect(assumed.sort()).toEqual(associations.map(({ role, of }) => `${of} ${role}`).sort());
  });

  test('every operation that the source of the runtime names was recorded', () => {
    const recorded = new Set(given.workloads.flatMap(({ calls }) => calls.map(({ action }) => action.split(':')[1])));
    expect(operationsInSource().filter((operation) => !recorded.has(operation))).toEqual(Object.keys(UNSENT));
    // signed by hand, without a command of an SDK
    for (const operation of ['ESHttpPost', 'ESHttpGet']) expect(recorded).toContain(operation);
  });
});

describe('the simulation goes red', () => {
  let given: Case;

  beforeAll(async () => {
    given = await caseOf('prod');
  });

  test('where the policies of a role are gone', () => {
    // a domain and a key admit by their own policies too
    const own = legitimate(given).filter(({ action }) => !action.startsWith('es:'));
    expect(others(given.access, own, /Denied$/, { identityPolicies: [] })).toEqual([]);
  });

  test('where a role may do everything', () => {
    const inside = hostile(given).filter(({ owner }) => owner === undefined);
    expect(others(given.access, inside, /^Allowed$/, { identityPolicies: [EVERYTHING], vpcEndpointPolicies: [] })).toEqual([]);
  });

  test('but a bucket of another account stays out of reach even then: so says the VPC endpoint', () => {
    const outside = hostile(given).filter(({ owner }) => owner !== undefined);
    const open = { Version: '2012-10-17', Statement: [{ Effect: 'Allow', Principal: '*', Action: 's3:PutObject', Resource: '*' }] };
    expect(outside.length).toBeGreaterThan(0);
    expect(others(given.access, outside, /^Allowed$/, { identityPolicies: [EVERYTHING], resourcePolicy: open, vpcEndpointPolicies: [] })).toEqual([]);
    expect(others(given.access, outside, /Denied$/, { identityPolicies: [EVERYTHING], resourcePolicy: open })).toEqual([]);
  });
});
