import { generateKeyPairSync } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Issue, issue, makeAuthority, type Pair } from '../../support/certificates';
import { freePort } from '../free-port';
import { KubernetesApi, Refused } from './api';
import { Component } from './component';
import { programPath } from './programs';

/** How long a node may be silent before its pods are given up: EKS waits 40 s and its pods 300 s more. */
const SILENCE = '20s';
const TOLERATION_SECONDS = 2;

/** A Kubernetes control plane on free ports of the loopback address. Its nodes are simulated: whatever carries the label of {@link ControlPlane.NODE}. */
export class ControlPlane {
  /** Label of nodes that are played. A node that loses it falls silent. */
  static readonly NODE = { 'kwok.x-k8s.io/node': 'fake' };

  static async start(): Promise<ControlPlane> {
    const plane = new ControlPlane(mkdtempSync(join(tmpdir(), 'control-plane-')), await makeAuthority('cluster'));
    try {
      await plane.boot();
      return plane;
    } catch (error) {
      await plane.stop();
      throw error;
    }
  }

  /** As its administrator. */
  api!: KubernetesApi;

  /** Of its administrator, for programs. */
  readonly kubeconfig: string;

  private readonly components: Component[] = [];

  private constructor(readonly folder: string, readonly authority: Pair) {
    this.kubeconfig = join(folder, 'admin.json');
  }

  /** Starts a program beside it that ends with it. */
  run(name: string, program: string, args: readonly string[], env: { readonly [name: string]: string } = {}): Component {
    const component = Component.start(this.folder, name, program, args, env);
    this.components.push(component);
    return component;
  }

  /** Writes a file that programs beside it read, and answers its path. */
  write(name: string, text: string): string {
    const path = join(this.folder, name);
    writeFileSync(path, text, { mode: 0o600 });
    return path;
  }

  /** The last lines of a program: for messages. */
  logOf(name: string): string {
    return this.components.find((component) => component.name === name)?.log ?? '';
  }

  async stop(): Promise<void> {
    this.api?.close();
    // in the opposite order: each ends before what it needs does
    const ends = await [...this.components].reverse().reduce<Promise<PromiseSettledResult<void>[]>>(
      async (before, component) => [...await before, ...await Promise.allSettled([component.stop()])], Promise.resolve([]),
    );
    rmSync(this.folder, { recursive: true, force: true });
    const broken = ends.find((end) => end.status === 'rejected');
    if (broken) throw broken.reason;
  }

  private async boot(): Promise<void> {
    const [etcd, peer, secure, manager, scheduler] = await Promise.all([freePort(), freePort(), freePort(), freePort(), freePort()]);
    const url = `https://127.0.0.1:${secure}`;
    const store = `http://127.0.0.1:${etcd}`;
    const admin = await this.writeIdentities(url);

    this.start('etcd', {
      'data-dir': join(this.folder, 'etcd'),
      'unsafe-no-fsync': true,
      'log-level': 'warn',
      'listen-client-urls': store,
      'advertise-client-urls': store,
      'listen-peer-urls': `http://127.0.0.1:${peer}`,
      'initial-advertise-peer-urls': `http://127.0.0.1:${peer}`,
      'initial-cluster': `default=http://127.0.0.1:${peer}`,
    });
    const server = this.start('kube-apiserver', {
      'etcd-servers': store,
      'bind-address': '127.0.0.1',
      'advertise-address': '127.0.0.1',
      'secure-port': secure,
      'tls-cert-file': 'server.crt',
      'tls-private-key-file': 'server.key',
      'client-ca-file': 'ca.crt',
      'service-account-key-file': 'accounts.pub',
      'service-account-signing-key-file': 'accounts.key',
      'service-account-issuer': 'https://kubernetes.default.svc',
      // the aggregation layer: servers behind this one believe it what users it names
      'requestheader-client-ca-file': 'ca.crt',
      'requestheader-allowed-names': 'front-proxy',
      'requestheader-username-headers': 'X-Remote-User',
      'requestheader-group-headers': 'X-Remote-Group',
      'requestheader-extra-headers-prefix': 'X-Remote-Extra-',
      'proxy-client-cert-file': 'front-proxy.crt',
      'proxy-client-key-file': 'front-proxy.key',
      'authorization-mode': 'Node,RBAC',
      'allow-privileged': true,
      'service-cluster-ip-range': '172.20.0.0/16',
      // a loopback address is no valid endpoint
      'endpoint-reconciler-type': 'none',
      'default-not-ready-toleration-seconds': TOLERATION_SECONDS,
      'default-unreachable-toleration-seconds': TOLERATION_SECONDS,
    });
    await server.says(/Serving securely/);
    this.api = new KubernetesApi({ url, ca: this.authority.cert, ...admin });
    while (!await this.ready());

    this.start('kube-controller-manager', {
      'kubeconfig': join(this.folder, 'manager.json'),
      'leader-elect': false,
      'bind-address': '127.0.0.1',
      'secure-port': manager,
      'service-account-private-key-file': 'accounts.key',
      'root-ca-file': 'ca.crt',
      'use-service-account-credentials': true,
      'cluster-signing-cert-file': 'ca.crt',
      'cluster-signing-key-file': 'ca.key',
      'kube-api-qps': 200,
      'kube-api-burst': 400,
      'node-monitor-period': '1s',
      'node-monitor-grace-period': SILENCE,
      'node-eviction-rate': 10,
      'horizontal-pod-autoscaler-sync-period': '2s',
    });
    this.start('kube-scheduler', {
      'kubeconfig': join(this.folder, 'scheduler.json'), 'leader-elect': false, 'bind-address': '127.0.0.1', 'secure-port': scheduler,
    });
    this.start('nodes', { kubeconfig: this.kubeconfig });
    // made by the controller manager
    await this.api.until('the default service account', { apiVersion: 'v1', kind: 'ServiceAccount', namespace: 'default' }, (accounts) => accounts.length > 0);
  }

  private start(name: string, flags: { readonly [flag: string]: string | number | boolean }): Component {
    const files = /^[a-z-]+\.(crt|key|pub)$/;
    const args = Object.entries(flags).map(([flag, value]) => `--${flag}=${files.test(String(value)) ? join(this.folder, String(value)) : value}`);
    return this.run(name, programPath('control-plane'), [name, ...args]);
  }

  private async ready(): Promise<boolean> {
    try {
      return await this.api.get('/readyz') === 'ok';
    } catch (error) {
      if (error instanceof Refused) return false;
      throw error;
    }
  }

  /** Certificates and kubeconfig files; answers the administrator's certificate. */
  private async writeIdentities(url: string): Promise<Pair> {
    mkdirSync(join(this.folder, 'etcd'), { mode: 0o700 });
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    this.write('accounts.pub', publicKey.export({ type: 'spki', format: 'pem' }) as string);
    this.write('accounts.key', privateKey.export({ type: 'pkcs8', format: 'pem' }) as string);
    this.write('ca.crt', this.authority.cert);
    this.write('ca.key', this.authority.key);
    await this.issue('server', { dns: ['localhost', 'kubernetes', 'kubernetes.default', 'kubernetes.default.svc'] });
    await this.issue('front-proxy', { name: 'front-proxy' });
    await this.client('manager', url, { name: 'system:kube-controller-manager' });
    await this.client('scheduler', url, { name: 'system:kube-scheduler' });
    return this.client('admin', url, { name: 'admin', organization: 'system:masters' });
  }

  /** A certificate of the cluster's authority, also as `<file>.crt` and `<file>.key` in its folder. */
  async issue(file: string, what: Issue): Promise<Pair> {
    const pair = await issue(this.authority, what);
    this.write(`${file}.crt`, pair.cert);
    this.write(`${file}.key`, pair.key);
    return pair;
  }

  private async client(file: string, server: string, who: Issue): Promise<Pair> {
    const pair = await this.issue(file, who);
    const base64 = (text: string) => Buffer.from(text).toString('base64');
    // JSON is YAML
    this.write(`${file}.json`, JSON.stringify({
      'apiVersion': 'v1',
      'kind': 'Config',
      'clusters': [{ name: 'tests', cluster: { server, 'certificate-authority-data': base64(this.authority.cert) } }],
      'users': [{ name: 'tests', user: { 'client-certificate-data': base64(pair.cert), 'client-key-data': base64(pair.key) } }],
      'contexts': [{ name: 'tests', context: { cluster: 'tests', user: 'tests' } }],
      'current-context': 'tests',
    }));
    return pair;
  }
}
