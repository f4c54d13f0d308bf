import { Peer, type PeerRequest } from './peer.fixture';
import { OpenSearchHttp } from '../../../runtime/adapters/aws/opensearch-http';
import { OpenSearchSnapshots } from '../../../runtime/adapters/aws/opensearch-snapshots';
import { Sigv4Signer } from '../../../runtime/adapters/aws/sigv4';

describe('snapshots in OpenSearch', () => {
  let peer: Peer;
  let http: OpenSearchHttp;
  const asked: PeerRequest[] = [];

  beforeAll(async () => {
    peer = await Peer.start((request) => {
      asked.push(request);
      return request.method === 'GET' ? { status: 404, body: {} } : { body: {} };
    });
    const credentials = async () => ({ accessKeyId: 'a', secretAccessKey: 'b' });
    http = new OpenSearchHttp({ endpoint: peer.url, signer: new Sigv4Signer({ region: 'eu-central-1', service: 'es', credentials }) });
  });
  afterAll(async () => {
    http.close();
    await peer.stop();
  });

  test.each([0, 2])('restores with the copies that a domain with standby insists on (%i replicas), without aliases, under a name of its own', async (buildReplicas) => {
    await new OpenSearchSnapshots(http, 'kept', { buildReplicas }).restore('newest', 'flats', '7');
    const { path, body } = asked.at(-1)!;
    expect(path).toBe('/_snapshot/kept/newest/_restore');
    expect(JSON.parse(body.toString())).toEqual({
      indices: 'flats.7',
      rename_pattern: '.+',
      rename_replacement: 'thalos.drill.flats',
      include_aliases: false,
      include_global_state: false,
      index_settings: { 'index.number_of_replicas': buildReplicas },
    });
  });

  test('says that there is no repository where there is none', async () => {
    await expect(new OpenSearchSnapshots(http, 'kept', { buildReplicas: 0 }).newest('flats', '1')).rejects.toMatchObject({ code: 'NO_SNAPSHOT', message: expect.stringContaining("no repository 'kept'") });
  });
});
