// Runs the tests that the Node SDK's package brings along, unchanged: only the base URL is another.
//
// A line of JSON for each test, ["passed" | "failed" | "pending", its whole title, why it failed].
// LEFT_OUT: a regular expression for the titles of those that are not run.

'use strict';
const fs = require('node:fs');
const path = require('node:path');
const Mocha = require('mocha');

const sdk = path.dirname(require.resolve('mangopay4-nodejs-sdk/package.json'));
require(path.join(sdk, 'lib', 'config')).baseUrl = process.env.MANGOPAY_BASE_URL;
console.log = console.warn = console.error; // what tests print is not ours

// Some tests wait for what takes Mangopay seconds, and the emulator no time. Mocha has its own setTimeout by now; what
// is 30 s and more is the SDK's patience with a response, and stays.
const { setTimeout: later } = globalThis;
const shortened = (delay) => (delay < 30_000 ? Math.min(delay, 20) : delay);
globalThis.setTimeout = (callback, delay, ...values) => later(callback, shortened(delay), ...values);

const write = (...line) => process.stdout.write(`${JSON.stringify(line)}\n`);

class Lines {
  constructor(runner) {
    runner.on('pass', (test) => write('passed', test.fullTitle(), ''));
    runner.on('pending', (test) => write('pending', test.fullTitle(), ''));
    runner.on('fail', (test, error) => write('failed', test.fullTitle(), String((error && error.message) || error)));
  }
}

const mocha = new Mocha({ ui: 'bdd', reporter: Lines, timeout: 30_000 });
mocha.grep(new RegExp(process.env.LEFT_OUT)).invert();
const services = path.join(sdk, 'test', 'services');
for (const name of fs.readdirSync(services).sort()) mocha.addFile(path.join(services, name));
mocha.run(() => process.exit(0));
