/** The inference service's pod as a brain synthesizes it, and its volumes as the kubelet writes them. */
import { chmodSync, chownSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import type { Mount } from './container';
import type { Json } from '../../support/templates';

/** Files of one volume by their names. */
type Files = Readonly<Record<string, string>>;

/** What a cluster holds that the template does not. */
export interface Cluster {
  /** Values of the `bindings` ConfigMap, which CloudFormation fills in; keys that are not here are not mounted. */
  readonly bindings: Files;
  /** Secrets by name. */
  readonly secrets: Readonly<Record<string, Files>>;
  /** The service account's token, and the authority of the API server. */
  readonly api: { readonly token: string; readonly authority: string };
  /** What fields of the pod are, by their paths. */
  readonly fields: Files;
}

/** Modes of the volumes where the pod names none (Kubernetes API reference, "Volume"). */
const DEFAULT_MODE = 0o644;

export class Pod {
  /** The one whose deployment stands in this file of reviewers' YAML. */
  static fromManifest(file: string, cluster: Cluster): Pod {
    return new Pod(parseAllDocuments(readFileSync(file, 'utf8')).map((document) => document.toJS()), cluster);
  }

  readonly mounts: readonly Mount[];
  readonly variables: Readonly<Record<string, string>>;
  readonly spec: Json;
  private readonly folder = mkdtempSync(join(tmpdir(), 'pod-'));

  private constructor(private readonly objects: readonly Json[], private readonly cluster: Cluster) {
    this.spec = objects.find(({ kind }) => kind === 'Deployment').spec.template.spec;
    chmodSync(this.folder, 0o755);
    this.variables = Object.fromEntries(this.container.env.map(({ name, value, valueFrom }: Json) => [name, value ?? this.field(valueFrom)]));
    this.mounts = this.container.volumeMounts.map(({ name, mountPath, readOnly }: Json) => {
      const volume = this.spec.volumes.find((each: Json) => each.name === name);
      if (volume.emptyDir) return { path: mountPath, sizeLimit: volume.emptyDir.sizeLimit };
      if (readOnly !== true) throw new Error(`volume '${name}' is mounted to be written`);
      return { path: mountPath, source: this.write(name, volume) };
    });
  }

  get container(): Json {
    return this.spec.containers[0];
  }

  /** The configuration that the pod mounts. */
  get brain(): string {
    return this.configMap('brain')['brain.json'];
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** One volume, with the links by which the kubelet replaces all of its files at once. */
  private write(name: string, volume: Json): string {
    const [files, mode] = this.contentOf(volume);
    const folder = join(this.folder, name);
    const version = '..2026_01_01_00_00_00.000000000';
    mkdirSync(join(folder, version), { recursive: true });
    symlinkSync(version, join(folder, '..data'));
    for (const [file, text] of Object.entries(files)) {
      const path = join(folder, version, file);
      writeFileSync(path, text, { mode });
      chmodSync(path, mode);
      chownSync(path, 0, this.spec.securityContext.fsGroup);
      symlinkSync(join('..data', file), join(folder, file));
    }
    return folder;
  }

  private contentOf({ configMap, secret, projected, ...others }: Json): [Files, number] {
    if (configMap) return [this.configMap(configMap.name), configMap.defaultMode ?? DEFAULT_MODE];
    if (secret) {
      const files = this.cluster.secrets[secret.secretName];
      if (!files && secret.optional !== true) throw new Error(`there is no secret '${secret.secretName}'`);
      return [files ?? {}, secret.defaultMode ?? DEFAULT_MODE];
    }
    if (projected) {
      const sources: Files[] = projected.sources.map((source: Json) => this.projection(source));
      return [Object.assign({}, ...sources), projected.defaultMode ?? DEFAULT_MODE];
    }
    throw new Error(`nobody has taught this test what a volume of ${Object.keys(others).join(', ')} is`);
  }

  private projection({ serviceAccountToken, configMap, downwardAPI }: Json): Files {
    const { token, authority } = this.cluster.api;
    if (serviceAccountToken) return { [serviceAccountToken.path]: token };
    // of every namespace, made by the control plane
    if (configMap?.name === 'kube-root-ca.crt') return { [configMap.items[0].path]: authority };
    return Object.fromEntries(downwardAPI.items.map(({ path, fieldRef }: Json) => [path, this.field({ fieldRef })]));
  }

  private configMap(name: string): Files {
    const { data } = this.objects.find(({ kind, metadata }) => kind === 'ConfigMap' && metadata.name === name);
    if (name !== 'bindings') return data;
    const unbound = Object.keys(this.cluster.bindings).filter((key) => !Object.hasOwn(data, key));
    if (unbound.length > 0) throw new Error(`the template binds no ${unbound.join(', ')}`);
    return this.cluster.bindings;
  }

  private field({ fieldRef: { fieldPath } }: Json): string {
    return this.cluster.fields[fieldPath] ?? '';
  }
}
