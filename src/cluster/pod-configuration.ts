import { createHash } from 'node:crypto';
import { Stack } from 'aws-cdk-lib';
import { Chart, Lazy } from 'cdk8s';
import { IConstruct } from 'constructs';
import { Binding, Paths } from '../contract';
import { fail } from '../private/fail';
import { k8s } from '../private/k8s';

/** What pods of a namespace read at start: declarations, known at synth, and bindings, the physical names that CloudFormation fills in. */
export class PodConfiguration {
  private readonly bindings = new Map<string, string>();

  /** @param declarations text of `brain.json` */
  constructor(private readonly scope: IConstruct, private readonly declarations: string) {}

  addBinding(name: string, value: string): void {
    if (!(Object.values(Binding) as string[]).includes(name)) {
      fail(this.scope, 'UnknownBinding', `'${name}' is not a binding that pods read: use one of ${Object.values(Binding).join(', ')}`);
    }
    const bound = this.bindings.get(name);
    if (bound !== undefined && bound !== value) {
      fail(this.scope, 'DuplicateBinding', `binding ${name} is '${bound}' already and cannot be '${value}' too: connect the workload to one resource of a kind`);
    }
    this.bindings.set(name, value);
  }

  /** The ConfigMaps `brain` and `bindings`, the latter with one file for each binding. */
  addTo(chart: Chart, namespace: string): void {
    new k8s.KubeConfigMap(chart, 'Brain', { metadata: { name: 'brain', namespace }, data: { [Paths.CONFIGURATION_FILE]: this.declarations } });
    new k8s.KubeConfigMap(chart, 'Bindings', { metadata: { name: 'bindings', namespace }, data: Lazy.any({ produce: () => this.sorted() }) });
  }

  /** Annotations of the pods, which a change rolls. The bindings' digest covers references, because the names are not known at synth. */
  digests(): { [annotation: string]: string } {
    const digest = (text: string) => createHash('sha256').update(text).digest('hex').slice(0, 16);
    return {
      'thalos-brain/configuration-digest': digest(this.declarations),
      'thalos-brain/bindings-digest': Lazy.any({ produce: () => digest(JSON.stringify(Stack.of(this.scope).resolve(this.sorted()))) }),
    };
  }

  private sorted(): { [name: string]: string } {
    return Object.fromEntries([...this.bindings].sort(([a], [b]) => (a < b ? -1 : 1)));
  }
}
