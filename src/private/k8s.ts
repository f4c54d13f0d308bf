/**
 * The objects of Kubernetes' own API groups, as cdk8s generates them. The package's index also loads what cdk8s-plus builds on top of
 * them; nothing here uses that, and each synth would pay 25 ms for it. Only this file knows the path.
 */
export * as k8s from 'cdk8s-plus-28/lib/imports/k8s';
