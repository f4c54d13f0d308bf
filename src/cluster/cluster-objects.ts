import { CfnResource, Lazy, Stack } from 'aws-cdk-lib';
import { CfnPodIdentityAssociation, ICluster, KubernetesManifest } from 'aws-cdk-lib/aws-eks-v2';
import { Chart, Yaml } from 'cdk8s';
import { Construct, IDependable } from 'constructs';
import { PodIdentity } from './brain-cluster-reference';
import { withPlaceholders, writeToAssembly } from '../private/assembly-file';
import { requireName } from '../private/names';

/** Every object of a manifest carries its name here, so that an update removes what the manifest no longer holds. */
const MANIFEST_LABEL = 'thalos-brain/manifest';

/** A manifest travels to kubectl inside one asynchronous Lambda event, whose limit is 256 KB. */
const MAX_MANIFEST_BYTES = 100_000;

/** A manifest's answer comes within the 15 minutes that a Lambda function may run. */
const MANIFEST_TIMEOUT_SECONDS = '960';

/** What an add-on of a brain's cluster begins with: its pinned version, if there is one, and what it waits for. */
export interface AddOnBasis {
  readonly version?: string;
  readonly after: IDependable[];
}

/** How objects and roles come into a cluster, whoever made it. Its constructs are children of the cluster's construct. */
export class ClusterObjects {
  /** What every later manifest waits for, and outlives at deletion. */
  readonly before: IDependable[] = [];

  constructor(private readonly scope: Construct, private readonly cluster: ICluster, private readonly brainName: string) {
    requireName(scope, "the brain's name", brainName);
  }

  addManifests(name: string, chart: Chart): KubernetesManifest {
    requireName(this.scope, 'the manifest name', name);
    let rendered: any[] | undefined;
    // Once, when first asked for at synth: what is validated and what reviewers read is what is applied.
    const objects = () => rendered ??= labelled(name, chart);
    const manifest = new KubernetesManifest(this.room('Manifests'), pascalCase(name), {
      cluster: this.cluster,
      // Rendered at synth: bindings arrive after the chart was made. The labels for pruning are ours, because CDK's need the objects now.
      manifest: Lazy.any({ produce: objects }) as any,
      prune: false,
      overwrite: true,
    });
    const resource = manifest.node.defaultChild as CfnResource;
    resource.addPropertyOverride('PruneLabel', `${MANIFEST_LABEL}=${name}`);
    resource.addPropertyOverride('ServiceTimeout', MANIFEST_TIMEOUT_SECONDS);
    manifest.node.addDependency(...this.before);
    manifest.node.addValidation({ validate: () => validateObjects(name, objects()) });
    writeToAssembly(new Construct(manifest, 'File'), [this.brainName, 'manifests', `${name}.yaml`],
      () => Yaml.stringify(...withPlaceholders(Stack.of(this.scope).resolve(objects())) as unknown[]));
    return manifest;
  }

  /** Applies objects that every later manifest waits for, and outlives at deletion. */
  first(name: string, chart: Chart): KubernetesManifest {
    const manifest = this.addManifests(name, chart);
    this.before.push(manifest);
    return manifest;
  }

  addPodIdentity(id: string, identity: PodIdentity): CfnPodIdentityAssociation {
    return new CfnPodIdentityAssociation(this.room('PodIdentities'), id, {
      clusterName: this.cluster.clusterName,
      namespace: identity.namespace,
      serviceAccount: identity.serviceAccount,
      roleArn: identity.role.roleArn,
    });
  }

  private room(id: string): Construct {
    return this.scope.node.tryFindChild(id) as Construct | undefined ?? new Construct(this.scope, id);
  }
}

function labelled(name: string, chart: Chart): any[] {
  return chart.toJson().map((object) => ({
    ...object,
    metadata: { ...object.metadata, labels: { ...object.metadata?.labels, [MANIFEST_LABEL]: name } },
  }));
}

function validateObjects(name: string, objects: any[]): string[] {
  const errors = objects.filter((object) => object.kind === 'Secret').map((object) => `SecretInManifest: manifest '${name}' holds Secret `
    + `'${object.metadata?.name}', which the kubectl handlers would write to their logs: mount it from AWS Secrets Manager instead`);
  const bytes = Buffer.byteLength(JSON.stringify(objects));
  if (bytes > MAX_MANIFEST_BYTES) {
    errors.push(`ManifestTooLarge: manifest '${name}' has ${bytes} bytes, more than ${MAX_MANIFEST_BYTES}: split it, or declare less`);
  }
  return errors;
}

function pascalCase(name: string): string {
  return name.split(/[-_]/).map((part) => part.charAt(0).toUpperCase() + part.slice(1)).join('');
}
