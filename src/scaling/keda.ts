import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Construct } from 'constructs';
import { KedaOperator } from './keda-operator';
import { IScaler } from './scaler';
import { StandingKeda } from './standing-keda';
import { ContainerImage, IBrainCluster } from '../cluster';
import { BrainEnvironment } from '../environment';
import { fail } from '../private/fail';

/** The chart's repository and version (kedacore/charts, `keda/Chart.yaml` of 2.20.2; the version of KEDA is the same). */
const REPOSITORY = 'https://kedacore.github.io/charts';
const VERSION = '2.20.2';

/** Triggers that ask every pod behind a service came with this version (kedacore/keda#6565). */
const LEAST_VERSION = [2, 20];

/** KEDA's images, by digest. Its registry is `ghcr.io`: beyond dev they are copied to the account's own ECR. */
export interface KedaImages {
  /** The image `kedacore/keda`. */
  readonly operator: ContainerImage;

  /** The image `kedacore/keda-metrics-apiserver`. */
  readonly metricsServer: ContainerImage;
}

/** KEDA from its chart. */
export interface KedaProps {
  /** Its images. */
  readonly images: KedaImages;
}

/** What a scaler is bound to. */
export interface ScalerContext {
  /** Decides the number of KEDA's pods, and which images are allowed. */
  readonly environment: BrainEnvironment;

  /** The cluster that it scales in. */
  readonly cluster: IBrainCluster;

  /** The brain's name: a folder of the cloud assembly. */
  readonly name: string;
}

/** What scales pods on demand: a value until it is bound to a serving plane. */
export abstract class Keda {
  /** KEDA 2.20.2, by its chart from `https://kedacore.github.io/charts`, which the deployment fetches over NAT. */
  static fromRepository(props: KedaProps): Keda {
    return new ChartKeda(props);
  }

  /**
   * KEDA by a chart on this machine, for networks that reach no repository: an unpacked chart, e.g. by
   * `helm pull keda --repo https://kedacore.github.io/charts --version 2.20.2 --untar`.
   *
   * @param path the folder that holds `Chart.yaml`, of KEDA 2.20 or newer
   */
  static fromChartAsset(path: string, props: KedaProps): Keda {
    return new ChartKeda(props, path);
  }

  /** KEDA 2.20 or newer that the cluster has already; it must watch the brain's namespaces, and its pods must be in the namespace `keda`. */
  static standing(): Keda {
    return new StandingChoice();
  }

  /** Defines the scaler's resources in `scope`. @internal */
  abstract _bind(scope: Construct, id: string, context: ScalerContext): IScaler;
}

class ChartKeda extends Keda {
  constructor(private readonly props: KedaProps, private readonly path?: string) {
    super();
    if (path !== undefined) requireChart(path);
  }

  /** @internal */
  override _bind(scope: Construct, id: string, context: ScalerContext): IScaler {
    const chart = this.path === undefined ? { repository: REPOSITORY, version: VERSION } : { path: this.path };
    return new KedaOperator(scope, id, { ...context, images: this.props.images, chart });
  }
}

class StandingChoice extends Keda {
  /** @internal */
  override _bind(scope: Construct, id: string, { cluster }: ScalerContext): IScaler {
    return new StandingKeda(scope, id, cluster);
  }
}

function requireChart(path: string): void {
  const file = join(path, 'Chart.yaml');
  const text = existsSync(file) ? readFileSync(file, 'utf8') : fail(undefined, 'KedaChart', `there is no chart in '${path}': give the folder that holds Chart.yaml, unpacked`);
  const field = (name: string) => new RegExp(`^${name}: *["']?([^"'\\s]+)`, 'm').exec(text)?.[1] ?? '';
  const [major, minor] = field('version').split('.').map(Number);
  const [leastMajor, leastMinor] = LEAST_VERSION;
  if (field('name') !== 'keda' || !(major > leastMajor || (major === leastMajor && minor >= leastMinor))) {
    fail(undefined, 'KedaChart', `'${path}' holds chart '${field('name')}' ${field('version')}: the brain's triggers need keda ${LEAST_VERSION.join('.')} or newer`);
  }
}
