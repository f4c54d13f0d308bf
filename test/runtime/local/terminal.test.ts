import { count, size, StandardTerminal } from '../../../runtime/local/terminal';

describe('progress', () => {
  const screen = (isTTY: boolean, columns = 80) => {
    const written: string[] = [];
    return { isTTY, columns, written, write: (text: string) => written.push(text) };
  };

  test('on a terminal draws a bar, redraws it in place, and takes it away at the end', () => {
    let now = 0;
    const err = screen(true);
    const progress = new StandardTerminal(screen(true), err, () => now).progress('features drivers');
    progress.update(0, 10_000);
    now += 200;
    progress.update(5000, 10_000);
    progress.update(5001, 10_000);
    progress.update(10_000, 10_000);
    progress.end();
    expect(err.written).toEqual([
      '\r\u001B[Kfeatures drivers ░░░░░░░░░░░░░░░░░░░░░░░░ 0 % 0 of 10,000',
      '\r\u001B[Kfeatures drivers ████████████░░░░░░░░░░░░ 50 % 5,000 of 10,000',
      '\r\u001B[Kfeatures drivers ████████████████████████ 100 % 10,000 of 10,000',
      '\r\u001B[K',
    ]);
  });

  test('says how fast it goes, once that can be said, and what else there is to say', () => {
    let now = 0;
    const err = screen(true);
    const progress = new StandardTerminal(screen(true), err, () => now).progress('rows');
    progress.update(100, 1000, '2 quarantined');
    now += 2000;
    progress.update(700, 1000, '3 quarantined');
    expect(err.written.map((text) => text.split(' % ')[1])).toEqual(['100 of 1,000, 2 quarantined', '700 of 1,000, 300 a second, 3 quarantined']);
  });

  test('is never wider than the terminal', () => {
    const err = screen(true, 20);
    new StandardTerminal(screen(true), err, () => 0).progress('features drivers').update(1, 2);
    expect(err.written[0].replace('\r\u001B[K', '')).toHaveLength(19);
  });

  test('elsewhere shows nothing', () => {
    const err = screen(false);
    const progress = new StandardTerminal(screen(false), err, () => 0).progress('features drivers');
    progress.update(1, 2);
    progress.end();
    expect(err.written).toEqual([]);
  });
});

test('numbers and sizes read well', () => {
  expect([count(0), count(1234567)]).toEqual(['0', '1,234,567']);
  expect([size(5), size(1500), size(2_340_000), size(5e9)]).toEqual(['5 B', '1.5 kB', '2.3 MB', '5.0 GB']);
});
