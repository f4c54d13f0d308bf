import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { IAMClient } from '@aws-sdk/client-iam';
import type { CloudFormationCustomResourceEvent } from 'aws-lambda';
import { IamServer } from './iam-server';
import { ensureServiceLinkedRoles, handler } from '../../runtime/handlers/service-linked-roles.lambda';

const SERVICES = ['autoscaling.amazonaws.com', 'opensearchservice.amazonaws.com'];
const AUTOSCALING = 'AWSServiceRoleForAutoScaling';
const OPENSEARCH = 'AWSServiceRoleForAmazonOpenSearchService';

let iam: IamServer;
let client: IAMClient;

beforeEach(async () => {
  iam = await IamServer.start();
  client = clientOf(iam);
});

afterEach(async () => {
  client.destroy();
  await iam.stop();
});

describe('the roles of an account', () => {
  test('are made where the account lacks them', async () => {
    await ensure();

    expect(iam.roleNames()).toEqual([AUTOSCALING, OPENSEARCH]);
    expect(iam.writes()).toEqual(SERVICES.map((service) => `CreateServiceLinkedRole ${service}`));
  });

  test('are left alone where the account has them', async () => {
    iam.addRole(AUTOSCALING);
    iam.addRole(OPENSEARCH);

    await ensure();

    expect(iam.writes()).toEqual([]);
  });

  test('are made once, however often CloudFormation delivers', async () => {
    await ensure();
    await ensure();

    expect(iam.writes()).toHaveLength(2);
  });

  test('may be made by somebody else between the look and the call', async () => {
    iam.addRole(AUTOSCALING);
    iam.addRole(OPENSEARCH);
    iam.failNext('GetRole', 404, 'NoSuchEntity', 'not yet seen');

    await ensure();

    expect(iam.writes()).toEqual(['CreateServiceLinkedRole autoscaling.amazonaws.com']);
  });

  test('are waited for until IAM shows them: what uses them fails before', async () => {
    iam.looksUntilVisible = 3;

    await ensure();

    const after = iam.calls.slice(iam.calls.indexOf('CreateServiceLinkedRole autoscaling.amazonaws.com') + 1);
    expect(after.filter((call) => call === `GetRole ${AUTOSCALING}`).length).toBeGreaterThan(3);
  });
});

describe('failures', () => {
  test('fails when IAM never shows the new role, and says what to do', async () => {
    iam.looksUntilVisible = Number.POSITIVE_INFINITY;

    await expect(ensure(4)).rejects.toThrow(`role ${AUTOSCALING} was made but IAM did not show it after 4 looks: deploy again`);
  });

  test('fails when IAM refuses, with IAM\'s own message', async () => {
    iam.failNext('CreateServiceLinkedRole', 403, 'AccessDenied', 'not authorized to perform iam:CreateServiceLinkedRole');

    await expect(ensure()).rejects.toThrow('not authorized to perform iam:CreateServiceLinkedRole');
  });

  test('fails when an input is invalid for another reason than an existing role', async () => {
    iam.failNext('CreateServiceLinkedRole', 400, 'InvalidInput', 'Service name is not allowed');

    await expect(ensure()).rejects.toThrow('Service name is not allowed');
  });

  test('fails when a service has no known role, and asks IAM nothing', async () => {
    await expect(ensureServiceLinkedRoles(client, ['spot.amazonaws.com'])).rejects.toThrow('no service-linked role is known for spot.amazonaws.com');
    expect(iam.calls).toEqual([]);
  });

  test('survives a server error of IAM', async () => {
    iam.failNext('CreateServiceLinkedRole', 500, 'ServiceFailure', 'try again');

    await ensure();

    expect(iam.roleNames()).toEqual([AUTOSCALING, OPENSEARCH]);
  });
});

describe('the handler', () => {
  let bucket: Server;
  let answers: { Status: string; PhysicalResourceId: string; Reason?: string }[];

  beforeEach(async () => {
    answers = [];
    bucket = createServer((request, response) => {
      let body = '';
      request.on('data', (chunk) => { body += chunk; });
      request.on('end', () => {
        answers.push(JSON.parse(body));
        response.end();
      });
    });
    await new Promise<void>((resolve) => bucket.listen(0, '127.0.0.1', resolve));
    Object.assign(process.env, { AWS_ENDPOINT_URL_IAM: iam.url, AWS_REGION: 'eu-west-1', AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test' });
  });

  afterEach(async () => {
    for (const name of ['AWS_ENDPOINT_URL_IAM', 'AWS_REGION', 'AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY']) delete process.env[name];
    bucket.closeAllConnections();
    await new Promise((resolve) => bucket.close(resolve));
  });

  test('answers a create when the roles are there', async () => {
    iam.addRole(AUTOSCALING);
    iam.addRole(OPENSEARCH);

    await handler(event('Create'), { getRemainingTimeInMillis: () => 60_000, logStreamName: 'stream' });

    expect(answers).toEqual([expect.objectContaining({ Status: 'SUCCESS', PhysicalResourceId: 'thalos-service-linked-roles' })]);
  });

  test('answers an update with the same physical id, so that nothing is ever replaced and deleted', async () => {
    iam.addRole(AUTOSCALING);
    iam.addRole(OPENSEARCH);

    await handler(event('Update'), { getRemainingTimeInMillis: () => 60_000, logStreamName: 'stream' });

    expect(answers).toEqual([expect.objectContaining({ Status: 'SUCCESS', PhysicalResourceId: 'thalos-service-linked-roles' })]);
  });

  test('deletes nothing: the roles belong to the account', async () => {
    iam.addRole(AUTOSCALING);

    await handler(event('Delete'), { getRemainingTimeInMillis: () => 60_000, logStreamName: 'stream' });

    expect(answers).toEqual([expect.objectContaining({ Status: 'SUCCESS' })]);
    expect(iam.calls).toEqual([]);
  });

  function event(type: string): CloudFormationCustomResourceEvent {
    return {
      RequestType: type,
      ServiceToken: 'arn:aws:lambda:eu-west-1:123456789012:function:handler',
      ResponseURL: `http://127.0.0.1:${(bucket.address() as AddressInfo).port}/answer?signature=s`,
      StackId: 'arn:aws:cloudformation:eu-west-1:123456789012:stack/brain/1',
      RequestId: 'request',
      LogicalResourceId: 'Roles',
      ResourceType: 'Custom::ThalosServiceLinkedRoles',
      ...type === 'Create' ? {} : { PhysicalResourceId: 'thalos-service-linked-roles' },
      ResourceProperties: { ServiceToken: 'arn', Services: SERVICES },
    } as unknown as CloudFormationCustomResourceEvent;
  }
});

function clientOf(server: IamServer): IAMClient {
  return new IAMClient({ endpoint: server.url, region: 'eu-west-1', credentials: { accessKeyId: 'test', secretAccessKey: 'test' }, retryMode: 'standard' });
}

function ensure(looks = 10): Promise<void> {
  return ensureServiceLinkedRoles(client, SERVICES, { pause: async () => {}, looks });
}
