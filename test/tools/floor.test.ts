import { App, type CfnResource, Stack } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as kms from 'aws-cdk-lib/aws-kms';
import * as s3 from 'aws-cdk-lib/aws-s3';
import { floorOf, sameJson } from '../../bench/floor';

test('the floor of a template synthesizes the same resources from L1s', () => {
  const stack = new Stack(new App(), 'Stack');
  const bucket = new s3.Bucket(stack, 'Bucket', { encryptionKey: new kms.Key(stack, 'Key') });
  bucket.grantRead(new iam.Role(stack, 'Role', { assumedBy: new iam.ServicePrincipal('lambda.amazonaws.com') }));
  (bucket.node.defaultChild as CfnResource).node.addDependency(new s3.Bucket(stack, 'Logs'));
  const wanted = Template.fromStack(stack).toJSON().Resources;

  const floor = floorOf({ Resources: wanted }, 'Floor');
  const exported: { createApp?: (props: object) => App } = {};
  new Function('require', 'exports', floor.source)(require, exported);
  const got = Template.fromStack(exported.createApp!({}).node.findChild('Floor') as Stack).toJSON().Resources;

  expect(floor).toMatchObject({ resources: 5, untyped: 0 });
  expect(sameJson(got, wanted)).toBe(true);
});
