import { CfnLaunchTemplate } from 'aws-cdk-lib/aws-ec2';
import { ContainerImage } from './container-image';
import { GRACE_PERIOD } from './pods';

/** Images of GPU frameworks exceed 10 GB, unpacked about twice that; the AMIs' own default is 20 GiB. */
const DATA_VOLUME_GIB = 200;

/** Of gp3, MiB/s: with the default of 125 it is the disk that a pull waits for. At most a quarter of the IOPS, of which gp3 has 3000. */
const DATA_VOLUME_THROUGHPUT = 500;

/** What device plugin AL2023 runs. */
export interface Al2023Props {
  /** NVIDIA's device plugin (`nvcr.io/nvidia/k8s-device-plugin`): beyond dev copied to the account's own ECR. */
  readonly devicePlugin: ContainerImage;
}

/** What GPU nodes of the base run. */
export abstract class GpuNodeImage {
  /** Bottlerocket with NVIDIA's driver and device plugin: a read-only system without shell and package manager. */
  static bottlerocket(): GpuNodeImage {
    return new Bottlerocket();
  }

  /**
   * Amazon Linux 2023 with NVIDIA's driver, for teams that need agents of their own on the system. Its AMI has no device plugin: that runs in the namespace
   * `thalos-gpu`, which is privileged, because it speaks to the kubelet over a socket on the node.
   */
  static al2023(props: Al2023Props): GpuNodeImage {
    return new AmazonLinux(props.devicePlugin);
  }

  /** As EKS calls it. @internal */
  abstract readonly _amiType: string;

  /** What makes GPUs known to the kubelet, where the AMI does not. @internal */
  readonly _devicePlugin?: ContainerImage;

  /** Volumes of a node, encrypted with a key. @internal */
  abstract _volumes(keyArn: string): CfnLaunchTemplate.BlockDeviceMappingProperty[];

  /** What EKS's own user data is merged with. @internal */
  _userData(): string | undefined {
    return undefined;
  }
}

class Bottlerocket extends GpuNodeImage {
  /** @internal */
  override readonly _amiType = 'BOTTLEROCKET_x86_64_NVIDIA';

  /** @internal */
  override _volumes(keyArn: string): CfnLaunchTemplate.BlockDeviceMappingProperty[] {
    return [{ deviceName: '/dev/xvda', ebs: volume(keyArn) }, { deviceName: '/dev/xvdb', ebs: dataVolume(keyArn) }];
  }
}

class AmazonLinux extends GpuNodeImage {
  /** @internal */
  override readonly _amiType = 'AL2023_x86_64_NVIDIA';

  /** @internal */
  constructor(override readonly _devicePlugin: ContainerImage) {
    super();
  }

  /** @internal */
  override _volumes(keyArn: string): CfnLaunchTemplate.BlockDeviceMappingProperty[] {
    return [{ deviceName: '/dev/xvda', ebs: dataVolume(keyArn) }];
  }

  /**
   * Beside a launch template, AL2023 takes user data as MIME parts, of which EKS adds its own and nodeadm merges all (nodeadm, "Merging multiple configuration
   * objects"). Pods end as they ask when a node is shut down; Bottlerocket's kubelet and Auto Mode's wait by themselves.
   *
   * @internal
   */
  override _userData(): string {
    return [
      'MIME-Version: 1.0',
      'Content-Type: multipart/mixed; boundary="//"',
      '',
      '--//',
      'Content-Type: application/node.eks.aws',
      '',
      '---',
      'apiVersion: node.eks.aws/v1alpha1',
      'kind: NodeConfig',
      'spec:',
      '  kubelet:',
      '    config:',
      `      shutdownGracePeriod: ${GRACE_PERIOD.toSeconds() + 15}s`,
      '      shutdownGracePeriodCriticalPods: 15s',
      '',
      '--//--',
      '',
    ].join('\n');
  }
}

const volume = (kmsKeyId: string) => ({ encrypted: true, kmsKeyId, volumeType: 'gp3', deleteOnTermination: true });

const dataVolume = (keyArn: string) => ({ ...volume(keyArn), volumeSize: DATA_VOLUME_GIB, throughput: DATA_VOLUME_THROUGHPUT });
