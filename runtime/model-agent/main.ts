/**
 * The model agent in its container, beside Triton.
 *
 * It follows the rollout document and makes Triton hold the versions of its pool. Probes, states and metrics are on `Port.AGENT`; logs are JSON on
 * its standard output. SIGTERM and SIGINT end it with 0 and leave Triton as it is.
 */
import { once } from 'node:events';
import { type AddressInfo } from 'node:net';
import { join, relative } from 'node:path';
import { parseArgs } from 'node:util';
import { AppConfigDataClient } from '@aws-sdk/client-appconfigdata';
import { S3Client } from '@aws-sdk/client-s3';
import { ModelAgent } from './agent';
import { agentServer } from './agent-server';
import { ArtifactFiles } from './artifact-files';
import { askToRestart, drained } from './drain';
import { FollowedDocument } from './followed-document';
import { type AgentSettings, readSettings } from './settings';
import { TritonManagement } from './triton-management';
import { AgentPaths, Paths, Port } from '../../src/contract';
import { AppConfigRollout } from '../adapters/aws/appconfig-rollout';
import { ArtifactBucket } from '../adapters/aws/artifact-bucket';
import { KubernetesLease } from '../adapters/aws/kubernetes-lease';
import { BrainError, refuse } from '../core/errors';
import { type Logger, SYSTEM_CLOCK } from '../core/ports';
import { type JsonLogger, jsonLogger } from '../inference-service/json-logger';
import { MOUNT_ROOT, readBindings, readConfiguration, requireBinding, under } from '../inference-service/mounted-files';

const host = '0.0.0.0';
/** A part of 8 MiB at 1 MB/s, with room; a connection that is silent so long is lost. */
const S3_TIMEOUT_MS = 15_000;

async function main(logger: JsonLogger): Promise<void> {
  const text = (otherwise: string | number) => ({ type: 'string', default: String(otherwise) }) as const;
  const { values } = parseArgs({
    options: {
      'root': text(MOUNT_ROOT),
      'volume': text(AgentPaths.VOLUME),
      'run': text(AgentPaths.RUN),
      'port': text(Port.AGENT),
      'triton-http-port': text(Port.TRITON_HTTP),
      'triton-grpc-port': text(Port.TRITON_GRPC),
      'triton-metrics-port': text(Port.TRITON_METRICS),
      'look-ms': text(1000),
      'drain-ms': text(20_000),
      'service-account': text(Paths.KUBERNETES_API),
    },
  });
  const settings = readSettings(process.env);
  const configuration = readConfiguration(values.root);
  const bindings = readBindings(values.root);
  const region = requireBinding(bindings, 'REGION');
  const onVolume = (path: string) => join(values.volume, relative(AgentPaths.VOLUME, path));
  const running = (path: string) => join(values.run, relative(AgentPaths.RUN, path));

  const s3 = new S3Client({ region, maxAttempts: 1, requestHandler: { connectionTimeout: 1000, requestTimeout: S3_TIMEOUT_MS } });
  const artifacts = new ArtifactBucket(s3, requireBinding(bindings, 'ARTIFACT_BUCKET'));
  const followed = new FollowedDocument({ path: onVolume(AgentPaths.DOCUMENT), logger });
  const rollout = new AppConfigRollout({
    client: new AppConfigDataClient({ region, requestHandler: { connectionTimeout: 1000, requestTimeout: 5000 } }),
    application: requireBinding(bindings, 'ROLLOUT_APPLICATION'),
    environment: requireBinding(bindings, 'ROLLOUT_ENVIRONMENT'),
    profile: requireBinding(bindings, 'ROLLOUT_PROFILE'),
    logger,
    lastGood: async () => followed.read() ?? artifacts.lastGoodRollout(),
  });
  rollout.onChange((document) => followed.keep(document));

  let downloadedBytes = 0;
  const triton = new TritonManagement({
    http: `http://127.0.0.1:${values['triton-http-port']}`,
    metrics: `http://127.0.0.1:${values['triton-metrics-port']}`,
    keyFile: running(AgentPaths.MANAGEMENT_KEY),
  });
  const agent = new ModelAgent({
    options: settings.machine,
    files: new ArtifactFiles({
      source: artifacts,
      repository: onVolume(AgentPaths.REPOSITORY),
      downloads: onVolume(AgentPaths.DOWNLOADS),
      triton: configuration.triton ?? {},
      logger,
      onBytes: (bytes) => void (downloadedBytes += bytes),
    }),
    triton,
    grpcPort: Number(values['triton-grpc-port']),
    certificates: under(values.root, AgentPaths.CERTIFICATES),
    rollout,
    ...leaseOf(settings, values['service-account'], logger),
    drain: (signal) => drained({ traffic: () => triton.traffic(), leastMs: Number(values['drain-ms']) }, signal),
    restart: () => askToRestart(running(AgentPaths.RESTART)),
    clock: SYSTEM_CLOCK,
    logger,
    lookMs: Number(values['look-ms']),
  });

  const server = agentServer({ agent, diskBudget: settings.machine.diskBudget, downloadedBytes: () => downloadedBytes })
    .listen({ host, port: Number(values.port) });
  await once(server, 'listening');
  const stop = async (signal: NodeJS.Signals) => {
    logger.info({ signal }, 'the model agent stops');
    await rollout.close();
    followed.close();
    await agent.close();
    server.close();
    s3.destroy();
    logger.flush();
    process.exit(0);
  };
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => void stop(signal).catch((error: unknown) => fail(logger, error)));

  logger.info({ pool: settings.machine.pool, address: `http://${host}:${(server.address() as AddressInfo).port}` }, 'listening');
  await agent.start();
  await rollout.start();
  logger.info({ ready: agent.ready, document: rollout.current() !== undefined }, 'started');
}

function leaseOf({ lease }: AgentSettings, account: string, logger: Logger): Pick<ConstructorParameters<typeof ModelAgent>[0], 'lease'> {
  if (!lease) return {};
  const { KUBERNETES_SERVICE_HOST: api, KUBERNETES_SERVICE_PORT: port = '443' } = process.env;
  if (!api) refuse('INVALID_CONFIGURATION', 'a lease is named, and there is no Kubernetes API: KUBERNETES_SERVICE_HOST is not set');
  return {
    lease: (events) => new KubernetesLease({
      ...lease,
      ...events,
      clock: SYSTEM_CLOCK,
      logger,
      api: { host: api, port: Number(port), tokenFile: join(account, 'token'), authorityFile: join(account, 'ca.crt') },
    }),
  };
}

function fail(logger: JsonLogger, error: unknown): never {
  const code = error instanceof BrainError ? error.code : 'INTERNAL';
  logger.error({ code, error: error instanceof Error ? error.message : String(error) }, 'the model agent cannot run');
  logger.flush();
  process.exit(1);
}

const logger = jsonLogger(process.stdout, SYSTEM_CLOCK, { service: 'model-agent' });
process.on('uncaughtExceptionMonitor', (error, origin) => {
  logger.error({ code: 'INTERNAL', origin, error: error.message, cause: error.stack }, 'the process ends');
  logger.flush();
});
main(logger).catch((error: unknown) => fail(logger, error));
