import { Duration, Stack } from 'aws-cdk-lib';
import { HelmChart } from 'aws-cdk-lib/aws-eks-v2';
import { CfnPolicy } from 'aws-cdk-lib/aws-iam';
import { Asset } from 'aws-cdk-lib/aws-s3-assets';
import { App, Chart, Yaml } from 'cdk8s';
import { Construct, IDependable } from 'constructs';
import type { KedaImages, ScalerContext } from './keda';
import { kedaNetwork } from './keda-network';
import { kedaValues } from './keda-values';
import { KedaScaler } from './scaler';
import type { IBrainCluster } from '../cluster';
import { restrictedNamespace } from '../cluster/pods';
import { Namespace } from '../contract';
import { withPlaceholders, writeToAssembly } from '../private/assembly-file';
import { fail } from '../private/fail';

/** Release, chart and namespace. */
const RELEASE = 'keda';

/** Below the 15 minutes that the handler of charts may run; the first node of Auto Mode and the images take more than the default of 5. */
const TIMEOUT = Duration.minutes(14);

/** Where a chart comes from: a repository, or a folder on this machine. */
export interface KedaChart {
  /** URL of the repository. @default - the chart is in `path` */
  readonly repository?: string;

  /** Version in the repository. @default - that of the chart in `path` */
  readonly version?: string;

  /** Folder of the unpacked chart. @default - the chart is in a repository */
  readonly path?: string;
}

/** Properties of {@link KedaOperator}. */
export interface KedaOperatorProps extends ScalerContext {
  /** Its images. */
  readonly images: KedaImages;

  /** Its chart. */
  readonly chart: KedaChart;
}

/**
 * KEDA in a namespace of its own, by its Helm chart, the only one of a brain: its operator and the server of external metrics, without the admission
 * webhooks, because every object that it gets is checked at synth.
 *
 * Its pods pass Pod Security `restricted`, have no AWS role, see the brain's two namespaces and no secret outside of their own, and reach the Kubernetes API and
 * the service's gauges only. The chart's own network policies admit DNS by a pod's label, which nodes of Auto Mode do not have: they stay off. The values
 * are written for reviewers to `thalos-brain/<brain name>/charts/keda.yaml` in the cloud assembly.
 */
export class KedaOperator extends KedaScaler {
  /** The chart. */
  readonly chart: HelmChart;

  /** @internal */
  protected readonly _ready: IDependable[];

  constructor(scope: Construct, id: string, props: KedaOperatorProps) {
    super(scope, id, props.cluster);
    const { cluster, environment, name, images, chart: { repository, version, path } } = props;

    const namespace = new Chart(new App(), RELEASE);
    restrictedNamespace(namespace, Namespace.SCALING);
    kedaNetwork(namespace, cluster);
    const namespaceManifest = cluster.addManifests(RELEASE, namespace);

    const values = kedaValues({
      operator: this.parts('operator', images.operator._bind(this, 'OperatorImage', environment)),
      metricsServer: this.parts('metricsServer', images.metricsServer._bind(this, 'MetricsServerImage', environment)),
      pods: environment.replicas > 1 ? 2 : 1,
    });
    const chartAsset = path === undefined ? undefined : new Asset(this, 'ChartAsset', { path });
    this.chart = new HelmChart(this, 'Chart', {
      cluster: cluster.cluster,
      ...chartAsset ? { chartAsset } : { chart: RELEASE, repository, version },
      release: RELEASE,
      namespace: Namespace.SCALING,
      // made above, with its labels and policies
      createNamespace: false,
      values,
      wait: true,
      timeout: TIMEOUT,
    });
    this.chart.node.addDependency(namespaceManifest);
    if (chartAsset) this.chart.node.addDependency(this.readAsset(chartAsset, cluster));
    this._ready = [this.chart];
    writeToAssembly(new Construct(this, 'File'), [name, 'charts', `${RELEASE}.yaml`], () => Yaml.stringify(
      { chart: { name: RELEASE, ...path === undefined ? { repository, version } : { asset: 'from this machine' } } },
      withPlaceholders(Stack.of(this).resolve(values)),
    ));
  }

  /** The chart writes `repository:tag` by itself; a tag that ends with the digest is one that the digest decides. */
  private parts(what: string, uri: string): { readonly repository: string; readonly digest: string } {
    const [repository, digest] = uri.split('@');
    return digest === undefined ? fail(this, 'KedaImage', `the image of ${what} must be pinned by digest, got '${uri}': use ContainerImage.fromEcr or fromRegistry`)
      : { repository, digest };
  }

  /** The handler's role takes no policy from CDK's grants, which would open the whole bucket of assets: it may read this one object. */
  private readAsset(asset: Asset, cluster: IBrainCluster): CfnPolicy {
    const role = cluster.cluster.kubectlProvider?.role
      ?? fail(this, 'KedaChartReader', 'the kubectl provider of the cluster names no role, so that none can be allowed to read the chart: import it with handlerRole');
    return new CfnPolicy(this, 'ReadChart', {
      policyName: 'ReadKedaChart',
      roles: [role.roleName],
      policyDocument: {
        Version: '2012-10-17',
        Statement: [{ Effect: 'Allow', Action: 's3:GetObject', Resource: asset.bucket.arnForObjects(asset.s3ObjectKey) }],
      },
    });
  }
}
