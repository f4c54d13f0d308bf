/** The whole service before a real OpenSearch that breaks. */
import { addGeneration, switchAlias } from './indexes';
import { items, itemsIndex, ItemSequence } from './items';
import type { OpenSearchServer } from './opensearch-server';
import type { VectorSearch } from '../../../runtime/core/ports';
import type { ModelManifest } from '../../../src/contract';
import { FaultyHttp } from '../faulty-http';
import { expectContained, NETWORK_FAULTS, partOf, PLAIN, PLAIN_INPUT, ServiceUnderFaults, ZEROS } from '../service-under-faults';

const INDEX = itemsIndex('served');
const NEIGHBOURS = { name: 'neighbours', datatype: 'FP32' as const, shape: [-1, 3, 1] };
const SEARCH = { input: 'route', index: INDEX.name, k: 3, tensor: NEIGHBOURS.name, fields: ['_score'] };
const MANIFESTS: readonly ModelManifest[] = [
  partOf('firm', NEIGHBOURS, { vectors: [SEARCH] }),
  partOf('soft', NEIGHBOURS, { vectors: [{ ...SEARCH, fill: -1, onUnavailable: 'fill' }] }),
  partOf('free', PLAIN),
];

export function vectorServiceFaults(server: () => OpenSearchServer, storeAt: (endpoint: string) => VectorSearch): void {
  describe('the service, while OpenSearch breaks:', () => {
    let faulty: FaultyHttp;
    let traffic: ServiceUnderFaults;

    beforeAll(async () => {
      await addGeneration(server().client(), INDEX, '1', items(new ItemSequence(5), 200));
      await switchAlias(server().client(), INDEX, '1');
    });
    beforeEach(async () => {
      faulty = await FaultyHttp.start(server().port, '/_msearch');
      const sequence = new ItemSequence(7);
      traffic = await ServiceUnderFaults.start({
        dependency: 'vectors',
        configuration: { featureGroups: [], vectorIndexes: [INDEX] },
        manifests: MANIFESTS,
        runtime: ZEROS,
        vectors: storeAt(`http://127.0.0.1:${faulty.port}`),
        inputs: (part) => part === 'free' ? [PLAIN_INPUT] : [{ name: 'route', datatype: 'FP32', shape: [1, INDEX.dimension], data: [...sequence.vector()] }],
      });
    });
    afterEach(async () => {
      await traffic.close();
      await faulty.close();
    });

    const contained = (breaks: () => void) => expectContained(traffic, {
      breaks,
      heals: () => faulty.heal(),
      calls: () => faulty.requests,
      codes: ['VECTOR_STORE_UNAVAILABLE', 'DEADLINE_EXCEEDED'],
    });

    test.each(NETWORK_FAULTS)('%s', (_, fault) => contained(() => faulty.network.set(fault)));

    test('it throttles', () => contained(() => faulty.answers.answerShare(1, { status: 429, body: '{"status":429}', headers: { 'content-type': 'application/json' } })));
  });
}
