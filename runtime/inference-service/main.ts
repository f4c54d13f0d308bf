/**
 * The inference service in its container on AWS.
 *
 * It reads what is mounted under /etc/thalos, serves REST over TLS on `Port.REST` and the probes over plain HTTP on `Port.HEALTH`,
 * and logs JSON to its standard output. SIGTERM and SIGINT drain it; it then exits 0.
 *
 * It verifies no token: the edge does, and only the edge can reach the pod. Hence nothing that depends on who the caller
 * is (overrides, priority lanes) is on.
 */
import type { Server as SecureServer } from 'node:https';
import { parseArgs } from 'node:util';
import { awsPorts } from './aws-ports';
import { jsonLogger } from './json-logger';
import { MOUNT_ROOT, readBindings, readConfiguration } from './mounted-files';
import { createService } from './service';
import { followCertificate, servingCertificate } from './serving-certificate';
import { Port } from '../../src/contract';
import { BrainError } from '../core/errors';
import { type Logger, SYSTEM_CLOCK } from '../core/ports';

const EVERY_INTERFACE = '0.0.0.0';
/** Time beyond the request timeout after which a drain that hangs is cut off. */
const DRAIN_SLACK_MS = 2000;

async function main(logger: Logger): Promise<void> {
  const { values } = parseArgs({
    options: { 'root': { type: 'string', default: MOUNT_ROOT }, 'rest-port': { type: 'string' }, 'health-port': { type: 'string' } },
  });
  const configuration = readConfiguration(values.root);
  const tls = await servingCertificate(values.root, new Date(SYSTEM_CLOCK.now()));
  const ports = awsPorts(configuration, readBindings(values.root), logger);
  const service = createService({ ...ports, configuration, logger, tls });
  const server = service.app.server as unknown as SecureServer;
  const unfollow = followCertificate(values.root, tls, logger, ({ cert, key }) => server.setSecureContext({ cert, key }));

  const stop = async (signal: NodeJS.Signals) => {
    logger.info({ signal }, 'draining');
    setTimeout(() => {
      logger.error({}, 'the drain took too long');
      process.exit(1);
    }, configuration.limits.requestTimeoutMs + DRAIN_SLACK_MS).unref();
    unfollow();
    await service.close();
    await ports.close();
    process.exit(0);
  };
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.once(signal, () => void stop(signal).catch((error: unknown) => fail(logger, error)));
  }

  // the ports are open before the first version is loaded: the probes tell the two apart
  const health = await service.probes.listen({ host: EVERY_INTERFACE, port: Number(values['health-port'] ?? Port.HEALTH) });
  const rest = await service.app.listen({ host: EVERY_INTERFACE, port: Number(values['rest-port'] ?? Port.REST) });
  logger.info({ brain: configuration.name, rest, health, mountedCertificate: tls.mounted }, 'listening');
  await ports.rollout.start();
  await service.start();
  logger.info({ ready: service.isReady() }, 'started');
}

function fail(logger: Logger, error: unknown): never {
  const code = error instanceof BrainError ? error.code : 'INTERNAL';
  logger.error({ code, error: error instanceof Error ? error.message : String(error) }, 'the service cannot run');
  process.exit(1);
}

const logger = jsonLogger(process.stdout, SYSTEM_CLOCK, { service: 'inference-service' });
main(logger).catch((error: unknown) => fail(logger, error));
