import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { CreateTableCommand, DynamoDBClient, ListTablesCommand } from '@aws-sdk/client-dynamodb';
import { OnlineItem } from '../../../src/contract';
import { cached } from '../cache';
import { freePort } from '../free-port';

const POM = join(__dirname, 'pom.xml');

/** An empty table of online features. */
export async function createTable(client: DynamoDBClient, name: string): Promise<void> {
  await client.send(new CreateTableCommand({
    TableName: name,
    BillingMode: 'PAY_PER_REQUEST',
    KeySchema: [{ AttributeName: OnlineItem.PK, KeyType: 'HASH' }],
    AttributeDefinitions: [{ AttributeName: OnlineItem.PK, AttributeType: 'S' }],
  }));
}

/** DynamoDB Local in memory, on a free port of the loopback address. */
export class DynamoDbLocal {
  static async start(): Promise<DynamoDbLocal> {
    const home = cached('dynamodb-local', POM, (folder) => {
      copyFileSync(POM, join(folder, 'pom.xml'));
      execFileSync('mvn', ['--quiet', '--batch-mode', 'package'], { cwd: folder, stdio: 'inherit' });
    });
    const port = await freePort();
    const server = spawn('java', ['-Xmx256m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', '-Djava.library.path=lib', '-cp', 'lib/*',
      'com.amazonaws.services.dynamodbv2.local.main.ServerRunner', '-inMemory', '-sharedDb', '-disableTelemetry', '-port', String(port)],
    { cwd: home, stdio: ['ignore', 'pipe', 'inherit'] });
    const local = new DynamoDbLocal(server, port);
    await local.answers();
    return local;
  }

  private constructor(private readonly server: ChildProcess, readonly port: number) {}

  client(port = this.port): DynamoDBClient {
    return new DynamoDBClient({
      endpoint: `http://127.0.0.1:${port}`, region: 'us-east-1', credentials: { accessKeyId: 'local', secretAccessKey: 'local' }, maxAttempts: 10,
    });
  }

  /** For clients other than the SDK's. */
  endpoint(port = this.port) {
    return { endpoint: `http://127.0.0.1:${port}`, region: 'us-east-1', credentials: async () => ({ accessKeyId: 'local', secretAccessKey: 'local' }) };
  }

  async stop(): Promise<void> {
    const ended = once(this.server, 'exit');
    this.server.kill('SIGTERM');
    await ended;
  }

  /** Resolves with the first answer; fails when the server ends before it. */
  private async answers(): Promise<void> {
    const client = this.client();
    while (this.server.exitCode === null) {
      try {
        await client.send(new ListTablesCommand({}));
        client.destroy();
        return;
      } catch (error) {
        if (!/ECONNREFUSED/.test(String((error as NodeJS.ErrnoException).code ?? error))) throw error;
      }
    }
    throw new Error(`DynamoDB Local ended with ${this.server.exitCode} before it answered`);
  }
}
