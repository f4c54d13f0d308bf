import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { CloudFormationCustomResourceEvent } from 'aws-lambda';
import { customResource } from '../../runtime/handlers/custom-resource';

interface Put {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: { Status: string; Reason?: string; PhysicalResourceId: string; Data?: object };
}

let bucket: Server;
let puts: Put[];
/** Statuses of the next answers; 200 after them, and a cut connection for 0. */
let statuses: number[];
let log: string[];

beforeEach(async () => {
  puts = [];
  statuses = [];
  log = [];
  bucket = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk) => { body += chunk; });
    request.on('end', () => {
      puts.push({ method: request.method!, path: request.url!, headers: request.headers, body: JSON.parse(body) });
      const status = statuses.shift() ?? 200;
      if (status === 0) request.socket.destroy();
      else response.writeHead(status).end();
    });
  });
  await new Promise<void>((resolve) => bucket.listen(0, '127.0.0.1', resolve));
});

afterEach(async () => {
  bucket.closeAllConnections();
  await new Promise((resolve) => bucket.close(resolve));
});

test('answers with what the handler returns, to the presigned address', async () => {
  await run(async () => ({ Name: 'value' }));

  expect(puts).toHaveLength(1);
  expect(puts[0]).toMatchObject({
    method: 'PUT',
    path: '/answer?signature=secret',
    body: {
      Status: 'SUCCESS', PhysicalResourceId: 'stable', StackId: 'stack', RequestId: 'request', LogicalResourceId: 'Logical', Data: { Name: 'value' },
    },
  });
});

test('sends no content type of its own: the signature of the address covers an empty one', async () => {
  await run(async () => {});

  expect(puts[0].headers['content-type'] ?? '').toBe('');
  expect(Number(puts[0].headers['content-length'])).toBeGreaterThan(0);
});

test('answers with the reason, and where to read more, when the handler fails', async () => {
  await run(async () => { throw new RangeError('the table is full'); });

  expect(puts[0].body).toMatchObject({ Status: 'FAILED', PhysicalResourceId: 'stable', Reason: 'RangeError: the table is full (log stream stream)' });
});

test('answers before the function is stopped when the handler does not end', async () => {
  await run(() => new Promise(() => {}), { remaining: 20 });

  expect(puts[0].body.Status).toBe('FAILED');
  expect(puts[0].body.Reason).toContain('did not end within');
});

test('keeps the physical id of an update', async () => {
  await run(async () => {}, { event: { RequestType: 'Update', PhysicalResourceId: 'older' } });

  expect(puts[0].body.PhysicalResourceId).toBe('older');
});

test('gets another physical id by a success alone', async () => {
  const physicalId = () => 'newer';
  const ids: string[] = [];
  for (const event of [{}, { RequestType: 'Update', PhysicalResourceId: 'older' }, { RequestType: 'Delete', PhysicalResourceId: 'older' }]) {
    for (const handle of [async () => {}, async () => { throw new Error('no'); }]) {
      await run(handle, { event, physicalId });
      ids.push(puts.at(-1)!.body.PhysicalResourceId);
    }
  }

  expect(ids).toEqual(['newer', 'stable', 'newer', 'older', 'older', 'older']);
});

test('asks again when the bucket answers with an error or cuts the connection', async () => {
  statuses = [503, 0];

  await run(async () => {});

  expect(puts.map(({ body }) => body.Status)).toEqual(['SUCCESS', 'SUCCESS', 'SUCCESS']);
});

test('fails when the bucket never takes the answer, so that Lambda delivers again', async () => {
  statuses = [503, 503, 503, 503];

  await expect(run(async () => {})).rejects.toThrow("CloudFormation's bucket answered 503");
});

test('writes the presigned address to no log and no error', async () => {
  statuses = [0, 0, 0, 0];

  const failure = await run(async () => { throw new Error('on purpose'); }).catch((error: Error) => error);

  expect(failure).toBeInstanceOf(Error);
  expect([String((failure as Error).stack), ...log].join('\n')).not.toContain('secret');
});

test('cuts a reason that CloudFormation would refuse for its length', async () => {
  await run(async () => { throw new Error('x'.repeat(10_000)); });

  expect(JSON.stringify(puts[0].body).length).toBeLessThan(4096);
});

function run(
  handle: () => Promise<Record<string, string> | void>, options: { remaining?: number; event?: object; physicalId?: () => string } = {},
): Promise<void> {
  const event = {
    RequestType: 'Create',
    ResponseURL: `http://127.0.0.1:${(bucket.address() as AddressInfo).port}/answer?signature=secret`,
    StackId: 'stack',
    RequestId: 'request',
    LogicalResourceId: 'Logical',
    ResourceProperties: {},
    ...options.event,
  } as unknown as CloudFormationCustomResourceEvent;
  return customResource('stable', handle, { margin: 10, log: (line) => log.push(line), physicalId: options.physicalId })(
    event, { getRemainingTimeInMillis: () => options.remaining ?? 60_000, logStreamName: 'stream' });
}
