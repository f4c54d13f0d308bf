// `counts.cjs <folder>`: sums the counts of every jest report in a folder: "N passed, N failed".
const { readdirSync, readFileSync } = require('node:fs');
const { join } = require('node:path');

const folder = process.argv[2];
const reports = readdirSync(folder).filter((file) => file.endsWith('.json')).map((file) => JSON.parse(readFileSync(join(folder, file), 'utf8')));
const sum = (count) => reports.reduce((total, report) => total + count(report), 0);
// A suite that cannot even load has no tests to count, and is a failure all the same.
console.log(`${sum((report) => report.numPassedTests)} passed, ${sum((report) => report.numFailedTests + report.numRuntimeErrorTestSuites)} failed`);
