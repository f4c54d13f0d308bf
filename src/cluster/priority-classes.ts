import { App, Chart } from 'cdk8s';
import { PriorityClass } from '../contract';
import { k8s } from '../private/k8s';

/**
 * Who gives way when GPUs are short: placeholders to everybody, the candidate to what serves. A pod that names a class which does not exist is refused. Values
 * are far below those of the system (two billion), and above 0, that of pods without a class.
 */
export function priorityClasses(): Chart {
  const chart = new Chart(new App(), 'priority-classes');
  const add = (id: string, name: string, value: number, description: string, preemptionPolicy = 'PreemptLowerPriority') =>
    new k8s.KubePriorityClass(chart, id, { metadata: { name }, value, description, preemptionPolicy, globalDefault: false });
  add('Stable', PriorityClass.STABLE, 100_000, 'Stable pool of the model runtime: what serves');
  add('Candidate', PriorityClass.CANDIDATE, 10_000, 'Candidate pool of the model runtime: what a release tries out');
  add('Placeholder', PriorityClass.PLACEHOLDER, -10, 'Keeps a warm node until a pod needs its place', 'Never');
  return chart;
}
