// The same in another language: no plugin, only the two variables that `wrap --emulator` sets, and HTTP.
//
//   mangopay-sidecar wrap --emulator -- node --test deploy/example-app/shop.test.mjs
//
// MANGOPAY_BASE_URL is where an app or its SDK calls Mangopay; MANGOPAY_EMULATOR_URL is where tests say what shall
// happen there: docs/emulator.md, "Control routes". Node 18 or later, and no package.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { once } from 'node:events';
import { afterEach, beforeEach, test } from 'node:test';

const { MANGOPAY_BASE_URL, MANGOPAY_EMULATOR_URL } = process.env;
assert(MANGOPAY_BASE_URL && MANGOPAY_EMULATOR_URL, 'run this under: mangopay-sidecar wrap --emulator --');
const IN_PATHS = '_'; // for the ClientId, which the sidecar knows
const CLIENT_ID = 'acme'; // whose resources the control routes are about: what the sidecar puts there

async function sent(url, method, body, type = 'application/json') {
  const answer = await fetch(url, { method, body, headers: body ? { 'Content-Type': type } : {}, redirect: 'manual' });
  const text = await answer.text();
  assert(answer.status < 400, `${method} ${url}: ${answer.status} ${text}`);
  return { text, location: answer.headers.get('location') };
}
const json = (body) => (body === undefined ? undefined : JSON.stringify(body));
const mangopay = async (method, path, body) =>
  JSON.parse((await sent(`${MANGOPAY_BASE_URL}/v2.01/${IN_PATHS}/${path}`, method, json(body))).text);
const control = async (method, route, body) =>
  JSON.parse((await sent(`${MANGOPAY_EMULATOR_URL}/__emulator__/${route}`, method, json(body))).text);
const submit = (url, form) =>
  sent(url, 'POST', new URLSearchParams(form).toString(), 'application/x-www-form-urlencoded');
const settle = (id, transition) => control('POST', 'settle', { client_id: CLIENT_ID, id, transition });

// The app's page for hooks: `told` resolves with what the next one says.
let hooks;
let told;
beforeEach(async () => {
  await control('POST', 'reset', {});
  hooks = createServer((request, response) => {
    const { searchParams } = new URL(request.url, 'http://app');
    response.end();
    hooks.emit('told', [searchParams.get('EventType'), searchParams.get('RessourceId')]);
  });
  hooks.listen(0, '127.0.0.1');
  await once(hooks, 'listening');
  told = async () => (await once(hooks, 'told'))[0];
});
afterEach(() => hooks.close());

const person = (category) => ({
  FirstName: 'Vera', LastName: 'Vendor', Email: 'vera@example.com', Birthday: 300681000, Nationality: 'FR',
  CountryOfResidence: 'FR', TermsAndConditionsAccepted: true, UserCategory: category,
});
const euros = (Amount) => ({ Amount, Currency: 'EUR' });

test('a card is charged, the payer authenticates, hooks tell, and the seller is paid out', async () => {
  const Url = `http://127.0.0.1:${hooks.address().port}/`;
  for (const EventType of ['PAYIN_NORMAL_SUCCEEDED', 'PAYOUT_NORMAL_SUCCEEDED']) {
    await mangopay('POST', 'hooks', { EventType, Url });
  }
  const seller = await mangopay('POST', 'sca/users/natural', person('OWNER'));
  await submit(seller.PendingUserAction.RedirectUrl, { outcome: 'authenticate' });
  const wallet = await mangopay('POST', 'wallets', { Owners: [seller.Id], Description: 'Sales', Currency: 'EUR' });

  const buyer = await mangopay('POST', 'sca/users/natural', person('PAYER'));
  const card = await mangopay('POST', 'cardregistrations', { UserId: buyer.Id, Currency: 'EUR' });
  const browser = await submit(card.CardRegistrationURL, {
    data: card.PreregistrationData, accessKeyRef: card.AccessKey,
    cardNumber: '4970107111111119', cardExpirationDate: '1249', cardCvx: '123',
  });
  const { CardId } = await mangopay('PUT', `cardregistrations/${card.Id}`, { RegistrationData: browser.text });

  const paid = await mangopay('POST', 'payins/card/direct', {
    AuthorId: buyer.Id, CreditedWalletId: wallet.Id, CardId, DebitedFunds: euros(4000), Fees: euros(0),
    SecureMode: 'FORCE', SecureModeReturnURL: Url,
  });
  assert.equal(paid.Status, 'CREATED');
  const [hook] = await Promise.all([told(), submit(paid.SecureModeRedirectURL, { outcome: 'authenticate' })]);
  assert.deepEqual(hook, ['PAYIN_NORMAL_SUCCEEDED', paid.Id]);

  const address = { AddressLine1: '1 rue des Fleurs', City: 'Paris', PostalCode: '75001', Country: 'FR' };
  const bank = await mangopay('POST', `users/${seller.Id}/bankaccounts/iban`, {
    OwnerName: 'Vera Vendor', OwnerAddress: address, IBAN: 'FR7630004000031234567890143',
  });
  const payout = await mangopay('POST', 'payouts/bankwire', {
    AuthorId: seller.Id, DebitedWalletId: wallet.Id, DebitedFunds: euros(4000), Fees: euros(0), BankAccountId: bank.Id,
  });
  const [sentOut] = await Promise.all([told(), settle(payout.Id, 'send')]);
  assert.deepEqual(sentOut, ['PAYOUT_NORMAL_SUCCEEDED', payout.Id]);
  assert.equal((await mangopay('GET', `payouts/${payout.Id}`)).Status, 'SUCCEEDED');
});

test('the token is revoked, and the app does not notice', async () => {
  const user = await mangopay('POST', 'sca/users/natural', person('PAYER'));
  await control('POST', 'revoke', {});
  assert.equal((await mangopay('GET', `sca/users/${user.Id}`)).Id, user.Id);
  const { entries } = await control('GET', 'ledger');
  assert.deepEqual(entries.filter((write) => write.executions > 1), []);
});
