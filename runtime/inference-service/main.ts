/**
 * The inference service in its container on AWS.
 *
 * It reads what is mounted under /etc/thalos, serves REST and gRPC over TLS on `Port.REST` and `Port.GRPC`, the probes and the metrics over plain
 * HTTP on `Port.HEALTH` and `Port.METRICS`, and logs JSON to its standard output. SIGTERM and SIGINT drain it; it then exits 0.
 *
 * Where the bindings name an issuer, it verifies every caller's token itself, behind the edge. Without one nothing that depends on who the
 * caller is (overrides, priority lanes) is on.
 */
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { parseArgs } from 'node:util';
import { awsPorts } from './aws-ports';
import { awsTelemetry } from './aws-telemetry';
import { letHeapGrow } from './heap';
import { type JsonLogger, jsonLogger } from './json-logger';
import { metricsServer } from './metrics-server';
import { type Bindings, MOUNT_ROOT, readBindings, readConfiguration, requireBinding } from './mounted-files';
import { createService } from './service';
import { followCertificate, servingCertificate } from './serving-certificate';
import { TokenAuthenticator } from './token-authenticator';
import { PodEnv, Port } from '../../src/contract';
import { type Authenticator, NO_AUTHENTICATION } from '../core/caller';
import { BrainError } from '../core/errors';
import { type Logger, SYSTEM_CLOCK } from '../core/ports';

const host = '0.0.0.0';
/** How long a line of the log waits for others. */
const LOG_BATCH_MS = 100;
/** Time beyond the request timeout after which a drain that hangs is cut off. */
const DRAIN_SLACK_MS = 2000;

async function main(logger: JsonLogger): Promise<void> {
  letHeapGrow();
  const port = { type: 'string' } as const;
  const { values } = parseArgs({
    options: { 'root': { type: 'string', default: MOUNT_ROOT }, 'rest-port': port, 'grpc-port': port, 'health-port': port, 'metrics-port': port },
  });
  const portOf = (name: 'rest' | 'grpc' | 'health' | 'metrics', otherwise: number) => Number(values[`${name}-port`] ?? otherwise);
  const configuration = readConfiguration(values.root);
  const bindings = readBindings(values.root);
  const tls = await servingCertificate(values.root, new Date(SYSTEM_CLOCK.now()));
  const telemetry = awsTelemetry({ configuration, bindings, clock: SYSTEM_CLOCK, logger, instance: process.env[PodEnv.NAME] });
  const ports = awsPorts(configuration, bindings, values.root, logger, telemetry);
  const authenticator = authenticatorOf(bindings, logger);
  const service = createService({ ...ports, configuration, logger, tls, telemetry, authenticator, cacheFeatures: true });
  const unfollow = followCertificate(values.root, tls, logger, (renewed) => service.renew(renewed));

  // the ports are open before the first version is loaded: the probes tell the two apart
  const health = await service.probes.listen({ host, port: portOf('health', Port.HEALTH) });
  const rest = await service.rest.listen({ host, port: portOf('rest', Port.REST) });
  const grpc = await service.grpc.listen({ host, port: portOf('grpc', Port.GRPC) });
  const metricsPort = metricsServer(telemetry).listen({ host, port: portOf('metrics', Port.METRICS) });
  await once(metricsPort, 'listening');
  const metrics = `http://${host}:${(metricsPort.address() as AddressInfo).port}`;

  const stop = async (signal: NodeJS.Signals) => {
    logger.info({ signal }, 'draining');
    setTimeout(() => {
      logger.error({}, 'the drain took too long');
      logger.flush();
      process.exit(1);
    }, configuration.limits.requestTimeoutMs + DRAIN_SLACK_MS).unref();
    unfollow();
    await service.close();
    metricsPort.close();
    await Promise.all([ports.close(), telemetry.close()]);
    logger.flush();
    process.exit(0);
  };
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.once(signal, () => void stop(signal).catch((error: unknown) => fail(logger, error)));
  }

  logger.info({
    brain: configuration.name, rest, grpc, health, metrics, mountedCertificate: tls.mounted, verifiesTokens: authenticator !== NO_AUTHENTICATION,
  }, 'listening');
  await Promise.all([ports.warm(), ports.rollout.start()]);
  await service.start();
  logger.info({ ready: service.isReady() }, 'started');
}

/** Fails with INVALID_CONFIGURATION where an issuer is bound without all that belongs to it: half a verification would be none. */
function authenticatorOf(bindings: Bindings, logger: Logger): Authenticator {
  const { JWT_ISSUER: issuer, JWT_SCOPES: scopes = '' } = bindings;
  if (issuer === undefined) return NO_AUTHENTICATION;
  return new TokenAuthenticator({
    issuer,
    audience: requireBinding(bindings, 'JWT_AUDIENCE'),
    jwksUri: requireBinding(bindings, 'JWKS_URI'),
    scopes: scopes.split(' ').filter((scope) => scope !== ''),
    clock: SYSTEM_CLOCK,
    logger,
  });
}

function fail(logger: JsonLogger, error: unknown): never {
  const code = error instanceof BrainError ? error.code : 'INTERNAL';
  logger.error({ code, error: error instanceof Error ? error.message : String(error) }, 'the service cannot run');
  logger.flush();
  process.exit(1);
}

const logger = jsonLogger(process.stdout, SYSTEM_CLOCK, { service: 'inference-service' }, { batchMs: LOG_BATCH_MS });
// what nobody caught ends the process: the log says what it was
process.on('uncaughtExceptionMonitor', (error, origin) => {
  logger.error({ code: 'INTERNAL', origin, error: error.message, cause: error.stack }, 'the process ends');
  logger.flush();
});
main(logger).catch((error: unknown) => fail(logger, error));
