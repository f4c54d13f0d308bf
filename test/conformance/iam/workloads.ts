/** Runs the code that is deployed, with the names that a deployed brain would give it, against servers on the loopback address that write down what is asked. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { createInterface } from 'node:readline';
import { isDeepStrictEqual } from 'node:util';
import { backfillAnswer, backfillEvent } from './backfill-events';
import { type Call, CallReader, defaultDatabase, implied, type Place } from './calls';
import type { Deployed } from './deployed';
import { BUILD_EVENTS, DRILL_EVENTS, OneVectorIndex } from './vector-store';
import { digestOf } from '../../../runtime/core/digest';
import { offlineTable, sqlType } from '../../../runtime/core/offline/ddl';
import { MOUNT_ROOT } from '../../../runtime/inference-service/mounted-files';
import { AgentEnv, Binding, type ModelManifest, Namespace, OfflineTableResource, type RolloutDocument, VectorBuildEnv, VectorProviderProperty } from '../../../src/contract';
import { AppConfigServer } from '../../handlers/app-config-server';
import { IamServer } from '../../handlers/iam-server';
import { Peer, type PeerAnswer, type PeerRequest } from '../../runtime/adapters-aws/peer.fixture';
import { FakeTriton } from '../../runtime/adapters-aws/triton.fixture';
import { call } from '../../runtime/inference-service/http.fixture';
import { ROOT } from '../../support/examples';
import { PROFILE_MODEL } from '../../support/profiles';
import { type Json, KUBERNETES_RESOURCE, type Resource } from '../../support/templates';

export interface Workload {
  readonly name: string;
  /** ARN of its role. */
  readonly role: string;
  readonly calls: readonly Call[];
}

const CREDENTIALS = { AWS_ACCESS_KEY_ID: 'AKIDEXAMPLE', AWS_SECRET_ACCESS_KEY: 'secret' };
const MODEL_FILE = { path: 'model.onnx', digest: digestOf('model'), bytes: 5 };
const MANIFEST: ModelManifest = {
  schemaVersion: '1',
  name: PROFILE_MODEL,
  version: '1',
  platform: 'onnx',
  files: [MODEL_FILE],
  inputs: [{ name: 'features', datatype: 'FP32', shape: [-1, 1] }, { name: 'neighbours', datatype: 'FP32', shape: [-1, 1, 1] }],
  outputs: [{ name: 'score', datatype: 'FP32', shape: [-1, 1] }],
  enrichment: {
    entities: [{ input: 'customer', datatype: 'BYTES' }],
    features: [{ tensor: 'features', keys: ['customer'], groups: [{ group: 'customers', features: ['basket'] }] }],
    vectors: [{ input: 'query', index: 'offers', k: 1, tensor: 'neighbours', fields: ['margin'], fill: 0 }],
  },
};
const MANIFEST_TEXT = JSON.stringify(MANIFEST);
const DOCUMENT: RolloutDocument = { schemaVersion: '1', models: { [PROFILE_MODEL]: { stable: '1', versions: { 1: { digest: digestOf(MANIFEST_TEXT) } } } } };
const QUESTION = JSON.stringify({
  inputs: [{ name: 'customer', datatype: 'BYTES', shape: [1], data: ['7'] }, { name: 'query', datatype: 'FP32', shape: [1, 2], data: [1, 0] }],
});

/** Servers of AWS for a brain with one model, an empty table and an empty index. */
function answer({ method, path, headers, body }: PeerRequest, configured: boolean): PeerAnswer {
  const { pathname } = new URL(path, 'http://aws');
  const text = body.toString();
  switch (String(headers['x-amz-target']).split('.').at(-1)) {
    case 'BatchGetItem':
      return { body: { Responses: {}, UnprocessedKeys: {} } };
    case 'PutRecordBatch':
      return { body: { FailedPutCount: 0, RequestResponses: JSON.parse(text).Records.map(() => ({ RecordId: '1' })) } };
  }
  if (pathname === '/configurationsessions') return configured ? { status: 201, body: { InitialConfigurationToken: 'one' } } : { status: 404, body: {} };
  if (pathname === '/configuration') {
    return { headers: { 'next-poll-configuration-token': 'two', 'next-poll-interval-in-seconds': '15' }, body: JSON.stringify(DOCUMENT) };
  }
  if (pathname.endsWith('/_msearch')) return { body: { responses: [{ status: 200, hits: { hits: [] } }] } };
  if (pathname.endsWith('/_alias')) return { body: { 'offers.1': { aliases: { offers: {} } } } };
  if (pathname.endsWith('/brain-model.json')) return { body: MANIFEST_TEXT };
  if (pathname.endsWith(`/${MODEL_FILE.path}`)) return { status: 206, headers: { 'content-range': 'bytes 0-4/5' }, body: 'model' };
  if (pathname.endsWith('/last-good.json')) return { body: lastGood() };
  return method === 'PUT' ? {} : { status: 404, body: {} };
}

function lastGood(): string {
  const document = JSON.stringify(DOCUMENT);
  return JSON.stringify({ digest: digestOf(document), document });
}

/** The Kubernetes objects that a deployed brain applies. */
function objects(deployed: Deployed): Json[] {
  return deployed.ofType(KUBERNETES_RESOURCE).flatMap(({ properties, stack }) => JSON.parse(deployed.text(properties.Manifest, stack)));
}

/** What is asked, each question once. */
export class Recorder {
  readonly calls: Call[] = [];
  private readonly place: Place;
  private readonly reader: CallReader;

  constructor(deployed: Deployed) {
    const [domain] = deployed.ofType('AWS::OpenSearchService::Domain').map((each) => deployed.arnOf(each));
    this.place = { region: deployed.region, account: deployed.account, domain };
    this.reader = new CallReader(this.place);
  }

  take(request: PeerRequest): void {
    const asked = this.reader.read(request);
    if (asked) this.add(asked, ...implied(asked, this.place));
  }

  add(...calls: Call[]): void {
    for (const asked of calls) if (!this.calls.some((known) => isDeepStrictEqual(known, asked))) this.calls.push(asked);
  }
}

/** The role of a service account's pods. */
export function podRole(deployed: Deployed, namespace: string, serviceAccount: string): string {
  const found = deployed.ofType('AWS::EKS::PodIdentityAssociation').find(({ properties }) => (
    properties.Namespace === namespace && properties.ServiceAccount === serviceAccount
  ));
  if (!found) throw new Error(`no role is associated with ${namespace}/${serviceAccount}`);
  return deployed.text(found.properties.RoleArn, found.stack);
}

interface PodContainer {
  readonly namespace: string;
  readonly pod: Json;
  readonly container: Json;
}

/** Containers of the deployments in a namespace, sidecars among them. */
function containers(deployed: Deployed, namespace: string, named: string): PodContainer[] {
  return objects(deployed).filter(({ kind, metadata }) => kind === 'Deployment' && metadata.namespace === namespace).flatMap(({ spec }) => {
    const pod = spec.template.spec;
    const all: Json[] = [...pod.containers, ...pod.initContainers ?? []];
    return all.filter(({ name }) => name === named).map((container) => ({ namespace, pod, container }));
  });
}

/** Writes what the container mounts of ConfigMaps. */
function mount(deployed: Deployed, { namespace, pod, container }: PodContainer, root: string, others: Readonly<Record<string, string>>): void {
  for (const { name, mountPath } of container.volumeMounts) {
    const configMap = pod.volumes.find((volume: Json) => volume.name === name).configMap?.name;
    if (!configMap || !mountPath.startsWith(`${MOUNT_ROOT}/`)) continue;
    const { data } = objects(deployed).find(({ kind, metadata }) => kind === 'ConfigMap' && metadata.name === configMap && metadata.namespace === namespace);
    for (const [file, text] of Object.entries<string>({ ...data, ...others })) {
      if (Object.hasOwn(data, file) && text !== '') write(root, `${relative(MOUNT_ROOT, mountPath)}/${file}`, text);
    }
  }
}

/** No call of AWS goes to these: tokens' keys, and the collectors of telemetry. An empty binding counts as absent. */
const ELSEWHERE = Object.fromEntries(Object.values(Binding).filter((name) => /^(JWT_|JWKS_|OTLP_|EMF_)/.test(name)).map((name) => [name, '']));

/** The process of the inference service: it starts, answers, starts again while AppConfig is away, and drains. */
export async function inferenceService(deployed: Deployed): Promise<Workload> {
  const recorder = new Recorder(deployed);
  let configured = true;
  const aws = await Peer.start((request) => {
    recorder.take(request);
    return answer(request, configured);
  });
  const triton = await FakeTriton.start();
  triton.answer = () => [{ name: 'score', datatype: 'FP32', shape: [1, 1], data: Float32Array.of(1) }];
  const root = mkdtempSync(join(tmpdir(), 'iam-service-'));
  const [own] = containers(deployed, Namespace.INFERENCE, 'inference-service');
  try {
    const runtime = `grpc://${triton.address}`;
    mount(deployed, own, root, {
      ...ELSEWHERE, [Binding.VECTOR_ENDPOINT]: aws.url, [Binding.TRITON_ENDPOINT]: runtime, [Binding.TRITON_CANDIDATE_ENDPOINT]: runtime,
    });
    for (configured of [true, false]) await serveOnce(root, aws.url);
  } finally {
    await triton.stop();
    await aws.stop();
    rmSync(root, { recursive: true, force: true });
  }
  return { name: 'inference service', role: podRole(deployed, Namespace.INFERENCE, own.pod.serviceAccountName), calls: recorder.calls };
}

function write(root: string, path: string, text: string): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), text);
}

/** Requests until one is answered; an error that stays is one. */
const MOST_ASKED = 5;

async function serveOnce(root: string, endpoint: string): Promise<void> {
  const ports = ['rest', 'grpc', 'health', 'metrics'].flatMap((name) => [`--${name}-port`, '0']);
  const child = spawn(process.execPath, [join(ROOT, 'assets/inference-service/index.js'), '--root', root, ...ports], {
    stdio: ['ignore', 'pipe', 'inherit'], env: { PATH: process.env.PATH, AWS_ENDPOINT_URL: endpoint, ...CREDENTIALS },
  });
  const exited = once(child, 'exit');
  let rest = '';
  let said = '';
  let answered = false;
  for await (const line of createInterface({ input: child.stdout })) {
    said += `${line}\n`;
    const { message, rest: url } = JSON.parse(line);
    if (message === 'listening') rest = url.replace('0.0.0.0', '127.0.0.1');
    if (message !== 'started') continue;
    // the first request of a process compiles its code, and a busy machine takes longer for it than the store's deadline
    for (let asked = 0; !answered && asked < MOST_ASKED; asked++) {
      const { status, bytes } = await call(rest, { method: 'POST', path: `/v2/models/${PROFILE_MODEL}/infer`, payload: QUESTION });
      answered = status === 200;
      said += `${bytes.toString()}\n`;
    }
    child.kill('SIGTERM');
  }
  const [code] = await exited;
  if (code !== 0 || !answered) throw new Error(`the inference service ended with ${code}:\n${said}`);
}

/**
 * The process of the model agent in each pool, where the runtime has pods with one: it follows the document, downloads, and starts again while
 * AppConfig is away.
 */
export function modelAgents(deployed: Deployed): Promise<Workload>[] {
  return containers(deployed, Namespace.RUNTIME, 'model-agent').map((own) => modelAgent(deployed, own));
}

async function modelAgent(deployed: Deployed, own: PodContainer): Promise<Workload> {
  const recorder = new Recorder(deployed);
  let configured = true;
  let downloaded: () => void = () => undefined;
  const aws = await Peer.start((request) => {
    recorder.take(request);
    if (request.path.includes(MODEL_FILE.path)) downloaded();
    return answer(request, configured);
  });
  const root = mkdtempSync(join(tmpdir(), 'iam-agent-'));
  const literals: Json[] = own.container.env.filter(({ value }: Json) => value !== undefined);
  const variables = Object.fromEntries(literals.map(({ name, value }) => [name, value]));
  try {
    mount(deployed, own, root, {});
    for (configured of [true, false]) {
      const arrived = new Promise<void>((resolve) => {
        downloaded = resolve;
      });
      const folders = ['volume', 'run'].flatMap((name) => [`--${name}`, mkdtempSync(join(root, name))]);
      const child = spawn(process.execPath, [join(ROOT, 'assets/model-agent/index.js'), '--root', root, '--port', '0', ...folders], {
        stdio: ['ignore', 'ignore', 'inherit'],
        env: { PATH: process.env.PATH, ...variables, [AgentEnv.POOL]: 'stable', [AgentEnv.LEASE]: '', AWS_ENDPOINT_URL: aws.url, ...CREDENTIALS },
      });
      const exited = once(child, 'exit');
      await Promise.race([arrived, exited.then(([code]) => Promise.reject(new Error(`the model agent ended with ${code}`)))]);
      child.kill('SIGTERM');
      await exited;
    }
  } finally {
    await aws.stop();
    rmSync(root, { recursive: true, force: true });
  }
  return { name: 'model agent', role: podRole(deployed, Namespace.RUNTIME, own.pod.serviceAccountName), calls: recorder.calls };
}

/** Our Lambda functions, each with the event that it is deployed for. */
export function functions(deployed: Deployed): Resource[] {
  return deployed.ofType('AWS::Lambda::Function').filter(({ properties }) => properties.Handler === 'index.handler' && /^nodejs/.test(properties.Runtime));
}

/** @param assembly folder of the stack's assets */
export async function lambdaFunction(deployed: Deployed, fn: Resource, assembly: string): Promise<Workload> {
  const recorder = new Recorder(deployed);
  const [appConfig, iam] = [await AppConfigServer.start(), await IamServer.start()];
  const vectors = new OneVectorIndex('offers');
  const backfill = backfillEvent(fn.properties.Description ?? '');
  let outcome: Json;
  let declared: Json;
  const aws = await Peer.start(async (request) => {
    if (request.path === '/outcome') outcome = JSON.parse(request.body.toString());
    recorder.take(request);
    const [, service] = /Credential=[^/]+\/\d{8}\/[^/]+\/([^/]+)\//.exec(request.headers.authorization ?? '') ?? [];
    if (service === 'appconfig') return forward(request, appConfig.url);
    if (backfill) return backfillAnswer(request, service);
    if (service === 'es') return declared ? emptyStore(request) : vectors.store(request);
    if (service === 's3') return vectors.bucket(request);
    if (service === 'athena') return madeTable(request, declared);
    return service === 'iam' ? forward(request, iam.url) : {};
  });
  try {
    const [resource] = deployed.resources.filter(({ type, properties, stack }) => (
      type.startsWith('Custom::') && deployed.text(properties.ServiceToken, stack) === deployed.arnOf(fn)
    ));
    const variables = deployed.resolve(fn.properties.Environment?.Variables ?? {}, fn.stack);
    declared = resource && deployed.resolve(resource.properties, resource.stack);
    // a domain that listens on its own name would not be found here
    if (declared?.[VectorProviderProperty.ENDPOINT]) declared[VectorProviderProperty.ENDPOINT] = aws.url;
    if (variables[Binding.VECTOR_ENDPOINT]) variables[Binding.VECTOR_ENDPOINT] = aws.url;
    // Firehose calls through an alias
    const [alias] = deployed.ofType('AWS::Lambda::Alias').filter((each) => deployed.text(each.properties.FunctionName, each.stack) === deployed.nameOf(fn));
    const arn = [deployed.arnOf(fn), ...alias ? [deployed.text(alias.properties.Name, alias.stack)] : []].join(':');
    const asked = backfill ?? (alias ? { records: [] } : { type: 'TOKEN', authorizationToken: 'Bearer none', methodArn: 'arn' });
    const drilled = variables[VectorBuildEnv.REPOSITORY] ? DRILL_EVENTS : [asked];
    const steps = variables[VectorBuildEnv.LAYOUT] ? BUILD_EVENTS : drilled;
    const events = resource ? [created(declared, `${aws.url}/outcome`)] : steps;
    await invoke(join(assembly, `asset.${String(deployed.text(fn.properties.Code.S3Key, fn.stack)).replace(/\.zip$/, '')}`), events, arn, {
      ...variables, AWS_REGION: deployed.region, AWS_ENDPOINT_URL: aws.url, ...CREDENTIALS,
    });
    // where nobody in the account has used Athena yet, its DDL makes the database that it looks at
    if (resource?.type === 'Custom::ThalosOfflineTable') recorder.add(defaultDatabase('CreateDatabase', deployed));
    if (resource && outcome?.Status !== 'SUCCESS') throw new Error(`${fn.where} answered ${JSON.stringify(outcome)}`);
  } finally {
    await Promise.all([aws.stop(), appConfig.stop(), iam.stop()]);
  }
  const encrypted = fn.properties.KmsKeyArn && deployed.text(fn.properties.KmsKeyArn, fn.stack);
  const variables: Call[] = encrypted
    ? [{ action: 'kms:Decrypt', resources: [encrypted], context: { 'kms:ViaService': `lambda.${deployed.region}.amazonaws.com` } }] : [];
  const calls = [...recorder.calls, ...variables, ...recorder.calls.flatMap(passedRole)];
  return { name: fn.where, role: deployed.text(fn.properties.Role, fn.stack), calls };

  /** Who registers a repository of snapshots gives the domain the role that it names. */
  function passedRole({ action, resources: [path] }: Call): Call[] {
    if (action !== 'es:ESHttpPut' || !path.includes('/_snapshot/')) return [];
    const trusts = ({ properties }: Resource) => JSON.stringify(properties.AssumeRolePolicyDocument).includes('"es.amazonaws.com"');
    const [role] = deployed.ofType('AWS::IAM::Role').filter(trusts);
    return [{ action: 'iam:PassRole', resources: [deployed.arnOf(role)], context: {} }];
  }
}

/** Athena after a statement that made the table of a custom resource. */
function madeTable({ headers }: PeerRequest, properties: Json): PeerAnswer {
  switch (String(headers['x-amz-target']).split('.').at(-1)) {
    case 'StartQueryExecution': return { body: { QueryExecutionId: 'query' } };
    case 'GetQueryExecution': return { body: { QueryExecution: { Status: { State: 'SUCCEEDED' } } } };
    default: {
      const { columns } = offlineTable(JSON.parse(properties[OfflineTableResource.GROUP]), { database: 'features', location: 's3://bucket' });
      return { body: { TableMetadata: { Name: 'table', Parameters: { table_type: 'ICEBERG' }, Columns: columns.map(({ name, type }) => ({ Name: name, Type: sqlType(type, 'athena') })) } } };
    }
  }
}

/** A vector store in which nothing is yet. */
function emptyStore({ method, path }: PeerRequest): PeerAnswer {
  if (path.startsWith('/_cluster/health/')) return { body: { status: 'green' } };
  return method === 'GET' ? { status: 404, body: {} } : { body: {} };
}

async function forward({ method, path, headers, body }: PeerRequest, url: string): Promise<PeerAnswer> {
  const sent = Object.fromEntries(Object.entries(headers).filter(([name]) => !['host', 'connection', 'content-length', 'transfer-encoding', 'expect'].includes(name)));
  const response = await fetch(url + path, { method, headers: sent as Record<string, string>, body: method === 'GET' ? undefined : new Uint8Array(body) });
  const kept = Object.fromEntries([...response.headers].filter(([name]) => !/^(content-length|transfer-encoding|connection|keep-alive|date)$/.test(name)));
  return { status: response.status, headers: kept, body: Buffer.from(await response.arrayBuffer()) };
}

const created = (properties: Json, answerTo: string) => ({
  RequestType: 'Create', ResponseURL: answerTo, StackId: 'arn:aws:cloudformation:stack', RequestId: 'request', LogicalResourceId: 'Resource', ResourceType: 'Custom::Resource', ResourceProperties: properties,
});

/** In a process of its own, as Lambda would, one event after the other: a refusal is an answer too. */
function invoke(folder: string, events: readonly object[], arn: string, env: Record<string, string>): Promise<void> {
  const script = `const { handler } = require(process.argv[1]);
    const context = { getRemainingTimeInMillis: () => 300000, logStreamName: 'log', invokedFunctionArn: process.argv[3] };
    JSON.parse(process.argv[2]).reduce((before, event) => before.then(() => handler(event, context)), Promise.resolve())
    .then(() => process.exit(0), (error) => {
      if (error.message === 'Unauthorized') process.exit(0);
      console.error(error);
      process.exit(1);
    })`;
  return new Promise((resolve, reject) => {
    execFile(process.execPath, ['-e', script, join(folder, 'index.js'), JSON.stringify(events), arn], { env: { PATH: process.env.PATH, ...env } }, (error, stdout, stderr) => (
      error ? reject(new Error(`${folder}: ${stdout}${stderr}`)) : resolve()
    ));
  });
}
