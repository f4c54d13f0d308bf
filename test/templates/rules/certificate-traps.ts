import { addon, dependsOn, Traps } from './trap';
import { finding, Json, KUBERNETES_RESOURCE, manifestObjects, Resource, Templates } from '../../support/templates';

const OBJECT_VALUE = 'Custom::AWSCDK-EKS-KubernetesObjectValue';

/** Everything that a resource waits for, through others too. */
export function waitsFor(templates: Templates, resource: Resource, seen = new Set<string>()): Set<string> {
  for (const id of dependsOn(resource)) {
    if (seen.has(id)) continue;
    seen.add(id);
    const next = templates.resources.find((each) => each.stack === resource.stack && each.id === id);
    if (next) waitsFor(templates, next, seen);
  }
  return seen;
}

const certManagerObjects = (templates: Templates) => manifestObjects(templates)
  .filter(({ object }) => /^([a-z]+\.)?cert-manager\.io\//.test(object.apiVersion ?? ''));

const manifest = (object: object) => ({ type: KUBERNETES_RESOURCE, properties: { Manifest: JSON.stringify([object]) } });

/** cert-manager: when its objects can be applied, and what its certificates are good for. */
export const CERTIFICATE_TRAPS: Traps = {
  'A3 issuers and certificates wait until the webhook of cert-manager answers, which is after its add-on is created': {
    rule: (templates) => certManagerObjects(templates).flatMap(({ resource, object }) => {
      const gates = templates.ofType(OBJECT_VALUE).filter(({ stack, properties }) => stack === resource.stack && properties.ObjectName === 'cert-manager-webhook');
      const asked = ['deployment', 'validatingwebhookconfiguration'].every((type) => gates.some(({ properties }) => properties.ObjectType === type));
      const waits = waitsFor(templates, resource);
      return asked && gates.every(({ id }) => waits.has(id)) ? [] : [finding(resource, `${object.kind} ${object.metadata?.name} may come before the webhook`)];
    }),
    mistake: {
      AddOn: { type: 'AWS::EKS::Addon', properties: { AddonName: 'cert-manager' } },
      Issuer: { ...manifest({ apiVersion: 'cert-manager.io/v1', kind: 'ClusterIssuer', metadata: { name: 'i' } }), DependsOn: ['AddOn'] },
    },
  },
  'A3 what asks for the webhook waits for the add-on, for longer than the first node of Auto Mode takes': {
    rule: (templates) => templates.ofType(OBJECT_VALUE).filter(({ properties }) => properties.ObjectName === 'cert-manager-webhook').flatMap((gate) => {
      const addOn = addon(templates, 'cert-manager');
      if (!addOn || !waitsFor(templates, gate).has(addOn.id)) return [finding(gate, 'does not wait for the add-on')];
      return Number(gate.properties.TimeoutSeconds) >= 600 ? [] : [finding(gate, `waits ${gate.properties.TimeoutSeconds} s`)];
    }),
    mistake: { Gate: { type: OBJECT_VALUE, properties: { ObjectName: 'cert-manager-webhook', TimeoutSeconds: 60 } } },
  },
  'A3 the key of an authority is made in the namespace of cert-manager, and stays when the authority is renewed': {
    rule: (templates) => certManagerObjects(templates).filter(({ object: { spec } }) => spec?.isCA || spec?.ca).flatMap(({ resource, object }) => {
      if (object.kind === 'Issuer') return [finding(resource, `Issuer ${object.metadata.name} needs the key beside the pods`)];
      if (object.kind !== 'Certificate') return [];
      const keeps = object.metadata.namespace === 'cert-manager' && object.spec.privateKey?.rotationPolicy === 'Never';
      return keeps ? [] : [finding(resource, `Certificate ${object.metadata.name} makes an authority beside the pods, or changes its key`)];
    }),
    mistake: { Authority: manifest({ apiVersion: 'cert-manager.io/v1', kind: 'Certificate', metadata: { name: 'ca', namespace: 'thalos-runtime' }, spec: { isCA: true } }) },
  },
  'A3 certificates of pods change their key, are good for one side of a connection, and leave weeks to be taken up': {
    rule: (templates) => certManagerObjects(templates).filter(({ object }) => object.kind === 'Certificate' && !object.spec?.isCA).flatMap(({ resource, object }) => {
      const { privateKey, usages = [], duration, renewBefore } = object.spec;
      const name = object.metadata.name;
      if (privateKey?.rotationPolicy !== 'Always') return [finding(resource, `Certificate ${name} keeps its key`)];
      if (usages.length !== 1) return [finding(resource, `Certificate ${name} is good for ${usages.join(' and ')}`)];
      const days = (text: Json) => Number(/^(\d+)h$/.exec(text ?? '')?.[1] ?? 0) / 24;
      const weeks = days(duration) - days(renewBefore) >= 30 && days(renewBefore) >= 14;
      return weeks ? [] : [finding(resource, `Certificate ${name} is renewed too often, or too late`)];
    }),
    mistake: { Certificate: manifest({ apiVersion: 'cert-manager.io/v1', kind: 'Certificate', metadata: { name: 'c' }, spec: { usages: ['server auth', 'client auth'], duration: '24h', privateKey: { rotationPolicy: 'Always' } } }) },
  },
};
