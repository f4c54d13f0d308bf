import { Match, Template } from 'aws-cdk-lib/assertions';
import { KubernetesVersion } from 'aws-cdk-lib/aws-eks-v2';
import { Key } from 'aws-cdk-lib/aws-kms';
import { Accelerator, BrainClusterOptions } from '../../src/cluster';
import { Port } from '../../src/contract';
import { CloudWatchAgent } from '../../src/observability';
import { clusterFixture } from '../cluster/fixture';

function agent(options: BrainClusterOptions = {}) {
  const { stack, cluster, environment } = clusterFixture(options);
  const construct = new CloudWatchAgent(stack, 'Telemetry', { cluster, environment, logsKey: new Key(stack, 'AgentLogsKey') });
  const template = Template.fromStack(stack);
  const [[id, addOn]] = Object.entries(template.findResources('AWS::EKS::Addon', { Properties: { AddonName: 'amazon-cloudwatch-observability' } }));
  return { stack, construct, template, id, addOn };
}

/** The add-on's configuration, with what CloudFormation resolves as `<<>>`. */
function configurationOf(addOn: any): any {
  const value = addOn.Properties.ConfigurationValues;
  return JSON.parse(typeof value === 'string' ? value : value['Fn::Join'][1].map((part: unknown) => (typeof part === 'string' ? part : '<<>>')).join(''));
}

describe('CloudWatchAgent', () => {
  test('is the add-on of EKS, pinned for the cluster\'s version, and overwrites what it finds', () => {
    expect(agent().addOn.Properties).toMatchObject({ AddonVersion: 'v6.5.0-eksbuild.1', ResolveConflicts: 'OVERWRITE' });
  });

  test('takes the version that the app gives', () => {
    expect(agent({ addOnVersions: { 'amazon-cloudwatch-observability': 'v9.9.9-eksbuild.1' } }).addOn.Properties.AddonVersion).toBe('v9.9.9-eksbuild.1');
  });

  test('says so where nobody pins a version', () => {
    expect(agent({ version: KubernetesVersion.of('1.36') }).addOn.Properties.AddonVersion).toBeUndefined();
  });

  test('takes metrics as embedded metric format and traces as OTLP, and collects nothing of its own', () => {
    const configuration = configurationOf(agent().addOn);
    expect(configuration.agent.config).toEqual({
      agent: { region: '<<>>' },
      logs: { metrics_collected: { emf: {} } },
      traces: { traces_collected: { otlp: { http_endpoint: `0.0.0.0:${Port.OTLP}`, grpc_endpoint: '0.0.0.0:4317' } } },
    });
    expect(configuration).toMatchObject({ dcgmExporter: { enabled: false }, neuronMonitor: { enabled: false } });
  });

  test('has a role of its own by Pod Identity, that no other service account gets', () => {
    const { template, addOn, stack, construct } = agent();
    expect(addOn.Properties.PodIdentityAssociations).toEqual([{ ServiceAccount: 'cloudwatch-agent', RoleArn: stack.resolve(construct.role.roleArn) }]);
    template.hasResourceProperties('AWS::IAM::Role', {
      Description: 'CloudWatch agent and Fluent Bit of the brain',
      ManagedPolicyArns: Match.absent(),
      AssumeRolePolicyDocument: {
        Statement: [Match.objectLike({
          Action: ['sts:AssumeRole', 'sts:TagSession'],
          Condition: { StringEquals: Match.objectLike({ 'aws:RequestTag/kubernetes-namespace': 'amazon-cloudwatch', 'aws:RequestTag/kubernetes-service-account': 'cloudwatch-agent' }) },
        })],
      },
    });
  });

  test('writes into its own log groups only, and makes none', () => {
    const { template, stack, construct } = agent();
    const groups = [construct.metricsLog, ...construct.logs].map(({ logGroupArn }) => stack.resolve(logGroupArn));
    expect(groups).toHaveLength(4);
    template.hasResourceProperties('AWS::IAM::Policy', {
      PolicyDocument: {
        Statement: [
          { Effect: 'Allow', Action: ['logs:CreateLogStream', 'logs:DescribeLogStreams', 'logs:PutLogEvents'], Resource: groups },
          { Effect: 'Allow', Action: ['xray:PutTraceSegments', 'xray:PutTelemetryRecords'], Resource: '*' },
        ],
      },
    });
    expect(JSON.stringify(template.findResources('AWS::IAM::Policy'))).not.toContain('logs:CreateLogGroup"');
  });

  test('its log groups have a key and a retention, and are there before it', () => {
    const { template, stack, construct, addOn } = agent();
    for (const { logGroupName } of [construct.metricsLog, ...construct.logs]) {
      const id = stack.resolve(logGroupName).Ref;
      expect(template.findResources('AWS::Logs::LogGroup')[id].Properties).toMatchObject({ KmsKeyId: expect.anything(), RetentionInDays: 14 });
      expect(addOn.DependsOn).toContain(id);
    }
  });

  test('waits for what pods on managed nodes need', () => {
    const { template, addOn } = agent({ accelerator: Accelerator.L4 });
    for (const name of ['vpc-cni', 'kube-proxy', 'eks-pod-identity-agent', 'coredns']) {
      const [id] = Object.keys(template.findResources('AWS::EKS::Addon', { Properties: { AddonName: name } }));
      expect(addOn.DependsOn).toContain(id);
    }
  });
});
