import { CollectorProps, TelemetrySink } from '../../src/observability';
import { clusterFixture } from '../cluster/fixture';
import { TestWorkload } from '../support/workload';

function bound(props: CollectorProps) {
  const { stack, cluster, environment } = clusterFixture();
  const sink = TelemetrySink.collector(props)._bind(stack, 'Telemetry', { cluster, environment, logsKey: undefined as never })!;
  const workload = new TestWorkload(stack, 'Workload');
  sink.connectSender(workload);
  return { sink, workload };
}

describe('TelemetrySink.collector()', () => {
  test('binds what it is given, and opens a path to those ports of that namespace', () => {
    const { sink, workload } = bound({ namespace: 'observability', otlp: 'http://collector.observability.svc:4318/v1/traces', emf: 'collector.observability.svc:25888', emfLogGroup: '/brain/metrics' });
    expect(workload.bindings).toEqual({
      OTLP_ENDPOINT: 'http://collector.observability.svc:4318/v1/traces', EMF_ENDPOINT: 'collector.observability.svc:25888', EMF_LOG_GROUP: '/brain/metrics',
    });
    const [{ to, ports }, ...more] = sink._egress();
    expect(more).toEqual([]);
    expect(to).toEqual([{ namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'observability' } } }]);
    expect(ports!.map(({ port }) => port!.value)).toEqual([4318, 25888]);
  });

  test('may take traces alone', () => {
    expect(Object.keys(bound({ namespace: 'o', otlp: 'https://collector.o.svc:4443' }).workload.bindings)).toEqual(['OTLP_ENDPOINT']);
  });

  test.each<[string, Omit<CollectorProps, 'namespace'>, RegExp]>([
    ['no endpoint', {}, /CollectorEndpoints: .*got neither/],
    ['no log group', { emf: 'collector:25888' }, /CollectorLogGroup: emf 'collector:25888' needs emfLogGroup/],
    ['a URL without a port', { otlp: 'http://collector/v1/traces' }, /CollectorEndpoint: otlp must name a host and a port, got 'http:\/\/collector\/v1\/traces'/],
    ['a port that is none', { emf: 'collector:99999', emfLogGroup: 'g' }, /CollectorEndpoint: emf must .*99999/],
  ])('fails with %s', (_, props, message) => {
    expect(() => bound({ namespace: 'observability', ...props })).toThrow(message);
  });
});

test('TelemetrySink.none() is nothing at all', () => {
  const { stack, cluster, environment } = clusterFixture();
  expect(TelemetrySink.none()._bind(stack, 'Telemetry', { cluster, environment, logsKey: undefined as never })).toBeUndefined();
});
