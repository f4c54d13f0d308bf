import { App, Stack } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { Key } from 'aws-cdk-lib/aws-kms';
import { Code, Function as LambdaFunction, Runtime } from 'aws-cdk-lib/aws-lambda';
import { Binding } from '../../src/contract';
import { BrainEnvironment } from '../../src/environment';
import { EntityKey, Feature, FeatureGroup, FeatureStore } from '../../src/features';
import { FunctionWorkload } from '../../src/security';

const TRIP = FeatureGroup.define('trip', { owner: 'fleet', entityKeys: [EntityKey.string('driver')], features: [Feature.float64('fare')] });

test('a function of your own gets the permissions and the names of what it is connected to', () => {
  const stack = new Stack(new App(), 'Stack', { env: { account: '123456789012', region: 'eu-west-1' } });
  const features = new FeatureStore(stack, 'Features', { environment: BrainEnvironment.dev(), encryptionKey: new Key(stack, 'Key'), groups: [TRIP] });
  const fn = new LambdaFunction(stack, 'Fares', { runtime: Runtime.NODEJS_24_X, handler: 'index.handler', code: Code.fromInline('exports.handler = async () => {}') });
  const workload = new FunctionWorkload(stack, 'FareWriter', fn);
  features.connectWriter(workload);
  features.connectReader(workload);

  const template = Template.fromStack(stack);
  template.hasResourceProperties('AWS::Lambda::Function', { Environment: { Variables: { [Binding.FEATURE_TABLE]: { Ref: Match.stringLikeRegexp('^Features') } } } });
  const roles = [{ Ref: Match.stringLikeRegexp('^FaresServiceRole') }];
  for (const actions of ['dynamodb:PutItem', ['dynamodb:BatchGetItem', 'dynamodb:GetItem']]) {
    template.hasResourceProperties('AWS::IAM::Policy', { Roles: roles, PolicyDocument: { Statement: Match.arrayWith([Match.objectLike({ Action: actions })]) } });
  }
});

test('fails when the function has no role', () => {
  const stack = new Stack(new App(), 'Stack');
  const imported = LambdaFunction.fromFunctionArn(stack, 'Imported', 'arn:aws:lambda:eu-west-1:123456789012:function:fares') as LambdaFunction;
  expect(() => new FunctionWorkload(stack, 'FareWriter', imported)).toThrow(/FunctionWithoutRole: function 'Stack\/Imported' must have a role/);
});
