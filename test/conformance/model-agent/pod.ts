/** A pod of a Triton pool: a real Triton over a volume, and the model agent in this process beside it. The test releases by handing it documents. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BUCKET } from './releases';
import { TritonContainer } from './triton-container';
import { ArtifactBucket } from '../../../runtime/adapters/aws/artifact-bucket';
import { type AgentOptions, statusOf, type VersionStatus } from '../../../runtime/core/model-agent/state';
import { type Logger, SYSTEM_CLOCK } from '../../../runtime/core/ports';
import { ModelAgent, type ModelAgentOptions } from '../../../runtime/model-agent/agent';
import { ArtifactFiles } from '../../../runtime/model-agent/artifact-files';
import { askToRestart, drained } from '../../../runtime/model-agent/drain';
import { TritonManagement } from '../../../runtime/model-agent/triton-management';
import type { RolloutDocument } from '../../../src/contract';
import { S3Server } from '../s3/s3-server';

export interface PodOptions {
  readonly script: string;
  /** Where the artifact store answers. */
  readonly s3: string;
  readonly machine?: Partial<AgentOptions>;
  readonly volume?: string;
  /** Folder of `tls.crt`, `tls.key` and `ca.crt`. */
  readonly certificates?: string;
  readonly lease?: ModelAgentOptions['lease'];
  readonly drainMs?: number;
}

export const MACHINE: AgentOptions = {
  pool: 'stable', diskBudget: 2 ** 30, rollbackMs: 600_000, probationMs: 10_000, maxCrashes: 3, backoffMs: 100, maxBackoffMs: 1_000, rotationPauseMs: 200,
};

export class Pod {
  static async start(options: PodOptions): Promise<Pod> {
    const volume = options.volume ?? mkdtempSync(join(tmpdir(), 'models-'));
    mkdirSync(join(volume, 'repository'), { recursive: true });
    const pod = new Pod(options, volume, await TritonContainer.create(options.script, volume, options.certificates));
    pod.triton.start();
    await pod.startAgent();
    return pod;
  }

  agent!: ModelAgent;
  readonly lines: string[] = [];
  private document: RolloutDocument | undefined;
  private readonly callbacks = new Set<(document: RolloutDocument) => void>();

  private constructor(private readonly options: PodOptions, readonly volume: string, readonly triton: TritonContainer) {}

  /** Hands the agent a document. */
  follow(document: RolloutDocument): void {
    this.document = document;
    for (const callback of this.callbacks) callback(document);
  }

  /** Settles as soon as it holds; fails where it does not in two minutes, and says what the agent thinks. */
  async until(holds: () => boolean | Promise<boolean>): Promise<void> {
    for (const end = Date.now() + 120_000; !await holds();) {
      if (Date.now() > end) throw new Error(`it does not come to that: ${JSON.stringify(this.agent.state, undefined, 1)}\n${this.lines.slice(-20).join('\n')}\n${this.triton.log.slice(-2000)}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** By its name in Triton. */
  status(name: string): VersionStatus | undefined {
    const { state } = this.agent;
    const key = Object.keys(state.versions).find((each) => each.startsWith(`${name}@`));
    return key === undefined ? undefined : statusOf(state, key);
  }

  error(name: string): string | undefined {
    return Object.entries(this.agent.state.versions).find(([key]) => key.startsWith(`${name}@`))?.[1].error;
  }

  untilStatus(name: string, status: VersionStatus): Promise<void> {
    return this.until(() => this.status(name) === status);
  }

  async restartAgent(): Promise<void> {
    await this.agent.close();
    this.callbacks.clear();
    await this.startAgent();
  }

  async stop(): Promise<void> {
    await this.agent.close();
    await this.triton.stop();
    if (this.options.volume === undefined) rmSync(this.volume, { recursive: true, force: true });
  }

  private async startAgent(): Promise<void> {
    const { s3, machine, certificates, lease, drainMs = 100 } = this.options;
    const { ports, run } = this.triton;
    const log = (level: string) => (fields: object, message: string) => void this.lines.push(`${level} ${message} ${JSON.stringify(fields)}`);
    const logger: Logger = { info: log('info'), warn: log('warn'), error: log('error') };
    const triton = new TritonManagement({ http: this.triton.url, metrics: `http://127.0.0.1:${ports.metrics}`, keyFile: join(run, 'management-key') });
    this.agent = new ModelAgent({
      options: { ...MACHINE, ...machine },
      files: new ArtifactFiles({
        source: new ArtifactBucket(S3Server.client(s3), BUCKET), repository: join(this.volume, 'repository'), downloads: join(this.volume, 'downloads'), triton: {}, logger,
      }),
      triton,
      grpcPort: ports.grpc,
      certificates: certificates ?? '/nowhere',
      rollout: {
        current: () => this.document,
        onChange: (callback) => {
          this.callbacks.add(callback);
          return () => this.callbacks.delete(callback);
        },
      },
      ...lease ? { lease } : {},
      drain: (signal) => drained({ traffic: () => triton.traffic(), leastMs: drainMs, everyMs: 50 }, signal),
      restart: () => askToRestart(join(run, 'restart')),
      clock: SYSTEM_CLOCK,
      logger,
      lookMs: 50,
    });
    await this.agent.start();
  }
}
