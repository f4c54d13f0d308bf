import { App, Stack } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { WorkloadRoles } from '../../src/security';

const stack = new Stack(new App(), 'Stack', { env: { account: '123456789012', region: 'eu-west-1' } });
const roles = new WorkloadRoles(stack, 'Roles');
const template = Template.fromStack(stack);

describe.each([
  ['inference', 'thalos-inference', 'inference-service'],
  ['runtime', 'thalos-runtime', 'model-runtime'],
] as const)('the role of the %s pods', (name, namespace, serviceAccount) => {
  test('A2: is assumed through EKS Pod Identity, with the session tags that it needs, by its own service account of this account alone', () => {
    const { Properties } = template.toJSON().Resources[stack.getLogicalId(roles[name].node.defaultChild as never)];

    expect(Properties.AssumeRolePolicyDocument.Statement).toEqual([{
      Effect: 'Allow',
      Action: ['sts:AssumeRole', 'sts:TagSession'],
      Principal: { Service: 'pods.eks.amazonaws.com' },
      Condition: {
        StringEquals: {
          'aws:SourceAccount': '123456789012',
          'aws:RequestTag/kubernetes-namespace': namespace,
          'aws:RequestTag/kubernetes-service-account': serviceAccount,
        },
      },
    }]);
  });
});

test('the vector administrator is a function', () => {
  template.hasResourceProperties('AWS::IAM::Role', {
    AssumeRolePolicyDocument: { Statement: [{ Effect: 'Allow', Action: 'sts:AssumeRole', Principal: { Service: 'lambda.amazonaws.com' } }] },
  });
});

test('no role may do anything by itself, and none has a name that a second brain would collide with', () => {
  template.resourceCountIs('AWS::IAM::Policy', 0);
  template.allResourcesProperties('AWS::IAM::Role', { Policies: Match.absent(), ManagedPolicyArns: Match.absent(), RoleName: Match.absent() });
});
