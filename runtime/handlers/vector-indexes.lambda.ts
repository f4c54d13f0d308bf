/**
 * Makes the indexes of a vector store, with their policies, snapshots and access, and keeps them as declared. A custom resource calls it; its role is
 * master of the domain's access control. CloudFormation and Lambda deliver at least once, and an earlier run may have died anywhere: every step may be repeated.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { fromNodeProviderChain } from '@aws-sdk/credential-providers';
import type { CloudFormationCustomResourceEvent, Context } from 'aws-lambda';
import { customResource } from './custom-resource';
import { VectorProviderProperty, type VectorStoreDeclaration } from '../../src/contract';
import { OpenSearchHttp } from '../adapters/aws/opensearch-http';
import { Sigv4Signer } from '../adapters/aws/sigv4';
import { BrainError } from '../core/errors';
import { PatientStore, type StorePatience } from '../core/vectors/patient-store';
import { enableAudit } from '../core/vectors/provide-audit';
import { provideStore, removeStore } from '../core/vectors/provide-store';
import type { StoreApi } from '../core/vectors/store-api';

/** Before the function's own end: the time that one last call and the answer to CloudFormation need. */
const MARGIN_MS = 90_000;
/** A deletion goes on without a store that does not answer by then. */
const DELETE_PATIENCE_MS = 60_000;

export type OpenStore = (endpoint: string) => StoreApi & { close?(): void };

/** @param open gives the API of the store at an endpoint */
export async function onEvent(event: CloudFormationCustomResourceEvent, open: OpenStore, patience: StorePatience): Promise<Record<string, string>> {
  const declared = declarationOf(event.ResourceProperties);
  const store = open(text(event.ResourceProperties, VectorProviderProperty.ENDPOINT));
  try {
    const api = new PatientStore(store, patience);
    if (event.RequestType === 'Delete') return await remove(api, declared);
    const sameStore = event.RequestType === 'Update'
      && event.OldResourceProperties[VectorProviderProperty.ENDPOINT] === event.ResourceProperties[VectorProviderProperty.ENDPOINT];
    await provideStore(api, declared, sameStore ? declarationOf(event.OldResourceProperties) : undefined);
    if (!await enableAudit(api)) warn('the store takes no configuration of its audit log: it may stay empty');
    return { Indexes: declared.indexes.map(({ schema }) => schema.name).join(',') };
  } finally {
    store.close?.();
  }
}

/**
 * A store that cannot be asked does not hold up the deletion: all that is left is access and policies, and they go with the domain, or stay beside
 * the data that is kept. Else the rollback of a creation that could not reach the domain would never end.
 */
async function remove(store: StoreApi, declared: VectorStoreDeclaration): Promise<Record<string, string>> {
  try {
    await removeStore(store, declared);
  } catch (error) {
    if (!(error instanceof BrainError && error.code === 'VECTOR_STORE_UNAVAILABLE')) throw error;
    warn(`access and policies stay in the domain: ${error.message}`);
  }
  return {};
}

const warn = (message: string): void => console.log(JSON.stringify({ level: 'warn', message }));

type Properties = Readonly<Record<string, unknown>>;

function declarationOf(properties: Properties): VectorStoreDeclaration {
  return JSON.parse(text(properties, VectorProviderProperty.DECLARATION)) as VectorStoreDeclaration;
}

function text(properties: Properties, name: string): string {
  const value = properties[name];
  if (typeof value !== 'string' || value === '') throw new Error(`the custom resource lacks the property ${name}`);
  return value;
}

function openSearch(endpoint: string): OpenSearchHttp {
  return new OpenSearchHttp({ endpoint, signer: new Sigv4Signer({ region: process.env.AWS_REGION!, service: 'es', credentials: fromNodeProviderChain() }) });
}

export async function handler(event: CloudFormationCustomResourceEvent, context: Context): Promise<void> {
  const patience = event.RequestType === 'Delete' ? DELETE_PATIENCE_MS : context.getRemainingTimeInMillis() - MARGIN_MS;
  const until = Date.now() + patience;
  const run = customResource('thalos-vector-indexes', (given) => onEvent(given, openSearch, { sleep, now: Date.now, until }));
  await run(event, context);
}
