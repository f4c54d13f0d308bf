import type { Socket } from 'node:net';

/** RST, and the socket is gone. libuv resets none that is being shut down, and Node would wait for it at the end of the process, for ever: that one is closed. */
export function reset(socket: Socket): void {
  if (socket.writableEnded && !socket.writableFinished) socket.destroy();
  else socket.resetAndDestroy();
}
