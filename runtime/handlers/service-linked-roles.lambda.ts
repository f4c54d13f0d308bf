/**
 * Makes the service-linked roles that a fresh account lacks, and waits until IAM shows them. They belong to the account: an
 * update or a deletion of the stack changes nothing.
 */
import { CreateServiceLinkedRoleCommand, GetRoleCommand, IAMClient, InvalidInputException, NoSuchEntityException } from '@aws-sdk/client-iam';
import { customResource } from './custom-resource';
import { ServiceLinkedRoleName } from '../../src/contract';

/** A role is visible within seconds; what uses it may still need a while, so two sightings in a row are asked for. */
const SIGHTINGS = 2;

export interface Patience {
  /** Between two looks. */
  readonly pause: () => Promise<void>;
  /** Looks for one role before giving up. */
  readonly looks: number;
}

const PATIENCE: Patience = { pause: () => new Promise((resolve) => setTimeout(resolve, 3000)), looks: 20 };

/** Makes the role of each service where it is absent. */
export async function ensureServiceLinkedRoles(client: IAMClient, services: readonly string[], patience: Patience = PATIENCE): Promise<void> {
  for (const service of services) {
    const role = (ServiceLinkedRoleName as Record<string, string>)[service];
    if (!role) throw new Error(`no service-linked role is known for ${service}: known are ${Object.keys(ServiceLinkedRoleName).join(', ')}`);
    if (await exists(client, role)) continue;
    await create(client, service);
    await settle(client, role, patience);
  }
}

async function exists(client: IAMClient, role: string): Promise<boolean> {
  try {
    await client.send(new GetRoleCommand({ RoleName: role }));
    return true;
  } catch (error) {
    if (error instanceof NoSuchEntityException) return false;
    throw error;
  }
}

async function create(client: IAMClient, service: string): Promise<void> {
  try {
    await client.send(new CreateServiceLinkedRoleCommand({ AWSServiceName: service }));
  } catch (error) {
    // somebody else made it between our look and our call; every other invalid input is ours
    if (!(error instanceof InvalidInputException && /has been taken in this account/.test(error.message))) throw error;
  }
}

async function settle(client: IAMClient, role: string, { pause, looks }: Patience): Promise<void> {
  let seen = 0;
  for (let look = 0; look < looks; look++) {
    seen = await exists(client, role) ? seen + 1 : 0;
    if (seen === SIGHTINGS) return;
    await pause();
  }
  throw new Error(`role ${role} was made but IAM did not show it after ${looks} looks: deploy again`);
}

export const handler = customResource('thalos-service-linked-roles', async (event) => {
  if (event.RequestType === 'Delete') return;
  await ensureServiceLinkedRoles(new IAMClient({}), event.ResourceProperties.Services as string[]);
});
