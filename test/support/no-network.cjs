// Preloaded into a synth that must not need a network: every connection but a local pipe fails, and so does every name look-up.
const dns = require('node:dns');
const { Socket } = require('node:net');

const connect = Socket.prototype.connect;
Socket.prototype.connect = function (...args) {
  const target = Array.isArray(args[0]) ? args[0][0] : args[0];
  const pipe = typeof target === 'string' ? target : target && target.path;
  if (!pipe) throw new Error(`this synth reached for the network: ${JSON.stringify(target)}`);
  return connect.apply(this, args);
};
for (const owner of [dns, dns.promises]) {
  owner.lookup = (name) => {
    throw new Error(`this synth looked up the name ${name}`);
  };
}
