import { App, AppProps, Stack } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import { Vpc } from 'aws-cdk-lib/aws-ec2';
import { Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { Key } from 'aws-cdk-lib/aws-kms';
import { IConstruct } from 'constructs';
import { BrainCluster, BrainClusterOptions, BrainClusterProps } from '../../src/cluster';
import { BrainEnvironment } from '../../src/environment';
import { BrainNetwork } from '../../src/network';

/** An image that needs no bundle. */
export const DIGEST = `sha256:${'0123456789abcdef'.repeat(4)}`;

export interface ClusterFixture {
  readonly app: App;
  readonly stack: Stack;
  readonly environment: BrainEnvironment;
  readonly cluster: BrainCluster;
  readonly role: Role;
}

/** An app with a cluster, and a role for pods. */
export function clusterFixture(
  options?: BrainClusterOptions,
  environment: BrainEnvironment = BrainEnvironment.dev(),
  appProps?: AppProps,
  serviceLinkedRoles?: (stack: Stack) => IConstruct,
): ClusterFixture {
  const app = new App(appProps);
  const stack = new Stack(app, 'Stack');
  const role = new Role(stack, 'PodRole', { assumedBy: new ServicePrincipal('pods.eks.amazonaws.com') });
  const cluster = clusterIn(stack, { environment, options, serviceLinkedRoles: serviceLinkedRoles?.(stack) });
  return { app, stack, environment, cluster, role };
}

/** A cluster over a VPC of three AZs. */
export function clusterIn(stack: Stack, props: Partial<BrainClusterProps> = {}): BrainCluster {
  const vpc = new Vpc(stack, 'Vpc', { availabilityZones: ['dummy1a', 'dummy1b', 'dummy1c'], restrictDefaultSecurityGroup: false });
  return new BrainCluster(stack, 'Cluster', {
    environment: BrainEnvironment.dev(),
    network: BrainNetwork.fromVpc(stack, 'Network', vpc),
    encryptionKey: new Key(stack, 'ClusterKey'),
    logsKey: new Key(stack, 'LogsKey'),
    name: 'brain',
    ...props,
  });
}

/** The objects of a manifest as the template carries them, with `<<…>>` for what CloudFormation fills in. */
export function manifestObjects(stack: Stack, name: string): any[] {
  const manifests = Template.fromStack(stack).findResources('Custom::AWSCDK-EKS-KubernetesResource', {
    Properties: { PruneLabel: `thalos-brain/manifest=${name}` },
  });
  const [manifest, ...more] = Object.values(manifests);
  if (!manifest || more.length > 0) throw new Error(`found ${Object.keys(manifests).length} manifests called ${name}`);
  const text = manifest.Properties.Manifest;
  return JSON.parse(typeof text === 'string' ? text : text['Fn::Join'][1].map((part: any) => (typeof part === 'string' ? part : '<<>>')).join(''));
}

export const ofKind = (objects: any[], kind: string) => objects.filter((object) => object.kind === kind);

export function oneOfKind(objects: any[], kind: string, name?: string): any {
  const found = ofKind(objects, kind).filter((object) => name === undefined || object.metadata.name === name);
  if (found.length !== 1) throw new Error(`found ${found.length} objects of kind ${kind}`);
  return found[0];
}

/** What Pod Security `restricted` refuses in a pod (Kubernetes documentation, "Pod Security Standards"), and what this house asks beyond. */
export function podSecurityErrors(pod: any): string[] {
  const errors: string[] = [];
  const check = (ok: boolean, message: string) => { if (!ok) errors.push(message); };
  check(!pod.hostNetwork && !pod.hostPID && !pod.hostIPC, 'host namespaces');
  check(pod.securityContext?.runAsNonRoot === true && pod.securityContext?.runAsUser > 0, 'runs as root');
  check(pod.securityContext?.seccompProfile?.type === 'RuntimeDefault', 'seccomp profile');
  check(pod.automountServiceAccountToken === false, 'service account token');
  for (const volume of pod.volumes ?? []) {
    const [type] = Object.keys(volume).filter((key) => key !== 'name');
    check(['configMap', 'emptyDir', 'projected', 'secret', 'csi', 'downwardAPI', 'ephemeral', 'persistentVolumeClaim'].includes(type), `volume of type ${type}`);
  }
  for (const container of [...pod.containers, ...pod.initContainers ?? []]) {
    const context = container.securityContext ?? {};
    check(context.allowPrivilegeEscalation === false, 'privilege escalation');
    check(JSON.stringify(context.capabilities) === '{"drop":["ALL"]}', 'capabilities');
    check(context.readOnlyRootFilesystem === true, 'writable root file system');
    check(!context.privileged, 'privileged');
    check((container.ports ?? []).every((port: any) => port.hostPort === undefined), 'host port');
    check(container.resources?.requests?.cpu !== undefined && container.resources?.limits?.memory !== undefined, 'resources');
  }
  return errors;
}
