/** What passes synth and every validator, then fails at deploy, update or delete: one trap, one rule, one template that falls into it. */
import { finding, Finding, Json, render, Resource, Templates } from '../../support/templates';

/** A resource as it stands in a template. */
interface SeededResource {
  readonly type: string;
  readonly properties?: { readonly [name: string]: Json };
  readonly DependsOn?: string[];
}

export interface Trap {
  /** Finds what falls into the trap. */
  readonly rule: (templates: Templates) => Finding[];
  /** The smallest template that does, by logical id. */
  readonly mistake: { readonly [logicalId: string]: SeededResource };
}

/** Traps by their names, which begin with the section of the deploy guide that tells of them. */
export interface Traps { readonly [name: string]: Trap }

/** A finding for each resource of a type that a predicate objects to. */
export function each(templates: Templates, type: string, problem: (resource: Resource) => string | undefined | false): Finding[] {
  return templates.ofType(type).flatMap((resource) => {
    const message = problem(resource);
    return message ? [finding(resource, message)] : [];
  });
}

export function refersTo(templates: Templates, value: Json, stack: string, type: string): boolean {
  return templates.referencesIn(value, stack).some((resource) => resource.type === type);
}

export function dependsOn(resource: Resource): string[] {
  return [resource.definition.DependsOn ?? []].flat();
}

/** `ecr.api` of `com.amazonaws.<region>.ecr.api`. */
export function endpointService(endpoint: Resource): string {
  return render(endpoint.properties.ServiceName).replace(/^.*?amazonaws\.(\$\{AWS::Region\}|[a-z]{2}(-[a-z]+)+-\d)\./, '');
}

export function addon(templates: Templates, name: string): Resource | undefined {
  return templates.ofType('AWS::EKS::Addon').find(({ properties }) => properties.AddonName === name);
}

/** Only a stack without a region may take its zone from GetAZs. */
export function isAgnostic(zone: Json): boolean {
  const list = zone?.['Fn::Select']?.[1]?.['Fn::GetAZs'];
  return list !== undefined && (list === '' || render(list) === '${AWS::Region}');
}
