import { Duration, Size, Stack } from 'aws-cdk-lib';
import { KubernetesManifest } from 'aws-cdk-lib/aws-eks-v2';
import { IRole } from 'aws-cdk-lib/aws-iam';
import { App, Chart } from 'cdk8s';
import { Construct, IDependable } from 'constructs';
import { AGENT } from './agent-container';
import { AGENT_CPU_MILLIS, AGENT_MEMORY, DecidedResources, decideResources } from './decide-resources';
import { IModelRuntime, ModelRuntimeContext } from './model-runtime';
import { TritonModel } from './triton-model';
import { poolName, TritonPods } from './triton-pod';
import { tritonPool } from './triton-pool';
import { TritonResources } from './triton-resources';
import { surroundings } from './triton-surroundings';
import { ContainerImage } from '../cluster';
import { gpuPlaces } from '../cluster/gpu-placement';
import { imagePrePull } from '../cluster/image-pre-pull';
import { PodConfiguration } from '../cluster/pod-configuration';
import { requireGpuMemory, requireNodeFit } from '../cluster/require-fit';
import {
  Binding, BRAIN_CONFIGURATION_VERSION, BrainConfiguration, DEFAULT_LIMITS, DEFAULT_ROLLBACK_WINDOW_SECONDS, Namespace, Port, RUNTIME_POOLS,
  RuntimePool, RuntimeSection, ServiceAccount, TlsSecret, TritonModelOptions,
} from '../contract';
import { requireSeconds } from '../private/declarations';
import { advise, fail } from '../private/fail';
import { PoolRollout, PoolScaling, RuntimeScaling, WarmPool } from '../scaling';
import { runtimeDemand } from '../scaling/demand';
import type { DecidedScaling } from '../scaling/pool-scaling';
import { CertificateUsage } from '../security';
import { IWorkload } from '../security/workload';

/** Pods of the candidate pool where nothing scales it. */
const CANDIDATES = 1;

/** NVIDIA Triton, in two pools of pods: one for stable versions, one for what a release tries out. */
export interface TritonProps {
  /** Triton's image. Its registry cannot be an ECR pull-through cache: beyond dev it is copied to the account's own ECR. */
  readonly image: ContainerImage;

  /** Image of the model agent beside it. @default ContainerImage.fromBundle('model-agent') */
  readonly agentImage?: ContainerImage;

  /** How models are run, by their declared names. @default - each takes one request at a time, on whatever its pod has */
  readonly modelConfigurations?: { [model: string]: TritonModel };

  /** What each pod takes of its node. @default - 2 CPUs, 8 GiB of memory and 20 GiB for models; 1 GPU with an accelerator that has any */
  readonly resources?: TritonResources;

  /** How many pods the pools have. @default - as each says */
  readonly scaling?: RuntimeScaling;

  /** How long a version that was replaced stays loaded, so that a rollback is at once: whole seconds. @default Duration.hours(1) */
  readonly rollbackWindow?: Duration;
}

/** Properties of {@link TritonRuntime}. */
export interface TritonRuntimeProps extends TritonProps, ModelRuntimeContext {}

/**
 * NVIDIA Triton in the brain's cluster: two pools of pods, each behind a headless service, reachable over gRPC from the inference service only. A version that is tried
 * out runs in the candidate pool, and cannot take down what serves. HTTP is for the kubelet's probes, which come from the pod's own node and are subject to no policy.
 *
 * In each pod the model agent makes Triton hold the released versions. Models are loaded explicitly and never completed by guess. The management APIs ask for a key
 * that each pod makes for itself at start and that never leaves it, so no caller outside of the pod can load, unload or trace anything.
 */
export class TritonRuntime extends Construct implements IModelRuntime, IWorkload {
  readonly workloadName = 'ModelRuntime';

  readonly namespace?: string = Namespace.RUNTIME;

  readonly agent?: IWorkload = this;

  readonly role: IRole;

  /** Manifests of what both pools stand in. */
  readonly manifest: KubernetesManifest;

  private readonly triton: Readonly<Record<string, TritonModelOptions>>;
  private readonly configuration: PodConfiguration;
  private readonly scaling: Readonly<Record<RuntimePool, DecidedScaling>>;
  private readonly secure: boolean;

  constructor(scope: Construct, id: string, props: TritonRuntimeProps) {
    super(scope, id);
    const { cluster, environment, certificates } = props;
    const { accelerator } = cluster;
    this.role = props.role;
    this.secure = certificates !== undefined;
    const resources = decideResources(this, accelerator, props.resources);
    this.triton = this.decideConfigurations(props, resources.gpus);
    this.scaling = this.decideScaling(props);
    this.requireRoom(props, resources);
    this.configuration = new PodConfiguration(this, this.agentConfiguration(props));
    this.addBinding(Binding.REGION, Stack.of(this).region);

    const image = props.image._bind(this, 'Image', environment);
    const base = new Chart(new App(), 'triton');
    surroundings(base, { cluster, secure: this.secure });
    this.configuration.addTo(base, Namespace.RUNTIME);
    if (resources.gpus > 0) imagePrePull(base, { name: 'triton', namespace: Namespace.RUNTIME, image, accelerator });
    this.manifest = cluster.addManifests('triton', base);
    const identity = cluster.addPodIdentity(this.workloadName, {
      namespace: Namespace.RUNTIME, serviceAccount: ServiceAccount.RUNTIME, role: this.role,
    });

    const pools = this.pools(props, identity, {
      image,
      agentImage: (props.agentImage ?? ContainerImage.fromBundle(AGENT))._bind(this, 'AgentImage', environment),
      accelerator,
      resources,
      rollbackSeconds: props.rollbackWindow ? requireSeconds('rollbackWindow', props.rollbackWindow) : DEFAULT_ROLLBACK_WINDOW_SECONDS,
      secure: this.secure,
      annotations: this.configuration.digests(),
    });
    certificates?.issue('triton-certificates', this.manifest, [{
      namespace: Namespace.RUNTIME, secretName: TlsSecret.RUNTIME_SERVER, usage: CertificateUsage.SERVER, dnsNames: RUNTIME_POOLS.flatMap(namesOf),
    }]);
    this.scale(props, pools);
  }

  /** Gives the workload the addresses of both pools. The path to them, and the right to look up their pods, are open to the inference service only. */
  connectCaller(workload: IWorkload): void {
    const address = (pool: RuntimePool) => `${this.secure ? 'grpcs' : 'grpc'}://${namesOf(pool)[0]}:${Port.TRITON_GRPC}`;
    workload.addBinding(Binding.TRITON_ENDPOINT, address('stable'));
    workload.addBinding(Binding.TRITON_CANDIDATE_ENDPOINT, address('candidate'));
  }

  /** Puts a physical name into what the pods read. */
  addBinding(name: string, value: string): void {
    this.configuration.addBinding(name, value);
  }

  /** @internal */
  _declaration(): RuntimeSection {
    return {
      ...this.scaling.stable.least === 0 ? { runtime: { onDemand: true } } : {},
      ...Object.keys(this.triton).length === 0 ? {} : { triton: this.triton },
    };
  }

  private pools(props: TritonRuntimeProps, identity: IDependable, pods: TritonPods): KubernetesManifest[] {
    const { cluster, scaling: { rollout, warmPool = WarmPool.none() } = {} } = props;
    const { gpus } = pods.resources;
    const { stable, candidate } = this.scaling;
    return RUNTIME_POOLS.map((pool) => {
      const scaling = this.scaling[pool];
      const others = pool === 'stable' ? candidate.least : stable.least;
      const strategy = PoolRollout._of(rollout, this, { cluster, gpus, pods: scaling.least, others });
      const placeholders = pool === 'stable' ? warmPool._placeholders(this, { cluster, gpus, pods: stable.least + candidate.least }) : 0;
      const manifest = cluster.addManifests(poolName(pool), tritonPool({ ...pods, pool, scaling, strategy, placeholders }));
      // credentials come to a pod at its admission, or never
      manifest.node.addDependency(this.manifest, identity);
      return manifest;
    });
  }

  private scale({ scaler }: TritonRuntimeProps, after: KubernetesManifest[]): void {
    const scaled = RUNTIME_POOLS.filter((pool) => this.scaling[pool].replicas === undefined);
    if (scaled.length === 0) return;
    scaler!._scale('triton-scaling', after, scaled.map((pool) => ({
      name: poolName(pool), namespace: Namespace.RUNTIME, scaling: this.scaling[pool], demand: runtimeDemand(pool),
    })));
  }

  private decideScaling({ scaling = {}, environment, scaler }: TritonRuntimeProps): Record<RuntimePool, DecidedScaling> {
    const context = { environment, scaler: scaler !== undefined, fromZero: true };
    const candidate = scaling.candidate ?? (context.scaler ? PoolScaling.onDemand({ min: 0 }) : PoolScaling.fixed(CANDIDATES));
    return { stable: PoolScaling._of(scaling.stable, this, context), candidate: PoolScaling._of(candidate, this, context) };
  }

  private decideConfigurations({ models, modelConfigurations = {} }: TritonRuntimeProps, gpus: number): Record<string, TritonModelOptions> {
    for (const [name, configuration] of Object.entries(modelConfigurations)) {
      if (!models.some((model) => model.name === name)) {
        fail(this, 'UnknownModel', `modelConfigurations names '${name}', which is no declared model: use one of ${models.map((model) => model.name).join(', ') || 'those that the brain declares (none)'}`);
      }
      if (configuration._highestGpu >= gpus) {
        fail(this, 'InstanceGpu', `model '${name}' names GPU ${configuration._highestGpu}, and each pod has ${gpus}, counted from 0: name another, or raise resources.gpus`);
      }
    }
    const sorted = Object.entries(modelConfigurations).sort(([a], [b]) => (a < b ? -1 : 1));
    return Object.fromEntries(sorted.map(([name, configuration]) => [name, configuration._toOptions()]));
  }

  /** Whether what is declared has room on the GPUs, on the nodes, and in the cluster. */
  private requireRoom({ cluster, models }: TritonRuntimeProps, { gpus, gpuReserve, cpuMillis, memory }: DecidedResources): void {
    if (gpus === 0) return;
    const { accelerator, gpuNodes } = cluster;
    requireGpuMemory(this, accelerator, models, gpuReserve);
    requireNodeFit(this, accelerator, {
      gpus, cpuMillis: cpuMillis + AGENT_CPU_MILLIS, memory: Size.mebibytes(memory.toMebibytes() + AGENT_MEMORY.toMebibytes()),
    });
    const places = gpuPlaces(cluster, gpus);
    const { stable, candidate } = this.scaling;
    const least = stable.least + candidate.least;
    if (least > places.base) {
      advise(this, 'gpu-capacity', `${least} Triton pods of ${gpus} GPU(s) (${stable.least} stable, ${candidate.least} candidate) need more than the ${gpuNodes} GPU node(s) of the cluster hold `
        + `(${places.base}): the others wait until the base is raised (cluster.gpu.base) or a burst brings nodes`);
    }
    const most = stable.most + candidate.most;
    const room = places.base + places.burst;
    if (most > least && most > room) {
      advise(this, 'gpu-burst', `${most} Triton pods of ${gpus} GPU(s) at most (${stable.most} stable, ${candidate.most} candidate) need more than base and burst nodes hold (${room}): `
        + 'raise cluster.gpu.burst, or lower max');
    }
  }

  /** Of the brain's declarations those that concern the pods: no other change takes models from GPUs and loads them again. */
  private agentConfiguration({ name, environment, models }: TritonRuntimeProps): string {
    const configuration: BrainConfiguration = {
      schemaVersion: BRAIN_CONFIGURATION_VERSION,
      name,
      environment: environment.name,
      models: models.map((model) => model._toDeclaration()),
      featureGroups: [],
      vectorIndexes: [],
      limits: DEFAULT_LIMITS,
      triton: this.triton,
    };
    return `${JSON.stringify(configuration, undefined, 2)}\n`;
  }
}

/** Names of a pool's service, as callers write them. */
function namesOf(pool: RuntimePool): string[] {
  return ['svc', 'svc.cluster.local'].map((domain) => `${poolName(pool)}.${Namespace.RUNTIME}.${domain}`);
}
