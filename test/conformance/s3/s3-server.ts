import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CreateBucketCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { freePort } from '../free-port';
import { programPath } from '../k8s/programs';

const CREDENTIALS = { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'only-for-this-test' };

/** An S3 server over a folder: versitygw, built from the versions that `versitygw/go.sum` pins. It checks signatures and knows ranges. */
export class S3Server {
  static async start(): Promise<S3Server> {
    const binary = programPath('versitygw');
    const folder = mkdtempSync(join(tmpdir(), 's3-'));
    mkdirSync(join(folder, 'data'));
    const port = await freePort();
    const { accessKeyId, secretAccessKey } = CREDENTIALS;
    const args = ['--port', `127.0.0.1:${port}`, '--access', accessKeyId, '--secret', secretAccessKey, '--region', 'eu-central-1', '--quiet', 'posix', join(folder, 'data')];
    const server = new S3Server(spawn(binary, args, { stdio: 'ignore' }), port, folder);
    await server.listens();
    return server;
  }

  /** A client of the server, also through a proxy before it. */
  static client(endpoint: string): S3Client {
    return new S3Client({ endpoint, region: 'eu-central-1', credentials: CREDENTIALS, maxAttempts: 1 });
  }

  /** What a process that talks to it has in its environment. */
  static environment(endpoint: string): Record<string, string> {
    return { AWS_ENDPOINT_URL_S3: endpoint, AWS_ACCESS_KEY_ID: CREDENTIALS.accessKeyId, AWS_SECRET_ACCESS_KEY: CREDENTIALS.secretAccessKey };
  }

  readonly client: S3Client;

  private constructor(private readonly server: ChildProcess, readonly port: number, private readonly folder: string) {
    this.client = S3Server.client(`http://127.0.0.1:${port}`);
  }

  async createBucket(bucket: string): Promise<void> {
    await this.client.send(new CreateBucketCommand({ Bucket: bucket }));
  }

  async put(bucket: string, key: string, body: string | Uint8Array): Promise<void> {
    await this.client.send(new PutObjectCommand({ Bucket: bucket, Key: key, Body: body }));
  }

  async stop(): Promise<void> {
    this.client.destroy();
    const ended = once(this.server, 'exit');
    this.server.kill('SIGTERM');
    await ended;
    rmSync(this.folder, { recursive: true, force: true });
  }

  private async listens(): Promise<void> {
    for (;;) {
      if (this.server.exitCode !== null) throw new Error(`versitygw ended with ${this.server.exitCode} before it listened`);
      const socket = createConnection(this.port, '127.0.0.1');
      const up = await Promise.race([once(socket, 'connect').then(() => true), once(socket, 'error').then(() => false)]).catch(() => false);
      socket.destroy();
      if (up) return;
    }
  }
}
