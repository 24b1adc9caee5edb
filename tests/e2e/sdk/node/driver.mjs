// An app on the official Node SDK, run by a test: one line of JSON in, one line of JSON out.
//
// {"do": "read_user", "with": {"user": "42"}}  →  {"status": 200, "value": {…}, "error": null, "headers": {…}, "rate_limits": […]}
//
// The SDK is used as its README says and is not changed. The Python app (../python/driver.py) knows the same things to do.

import Mangopay from 'mangopay4-nodejs-sdk';
import { createHash } from 'node:crypto';
import { createInterface } from 'node:readline';
import { resources } from './resources.mjs';

const api = new Mangopay({
  clientId: process.env.MANGOPAY_CLIENT_ID,
  clientApiKey: process.env.MANGOPAY_API_KEY,
  baseUrl: process.env.MANGOPAY_BASE_URL,
});

const ADDRESS = { AddressLine1: '1 rue des Fleurs', City: 'Paris', Region: 'IDF', PostalCode: '75001', Country: 'FR' };
const euros = (amount) => ({ Amount: amount, Currency: 'EUR' });
const withKey = (key) => (key ? { headers: { 'Idempotency-Key': key } } : undefined);

// Each returns the SDK's own promise; `seen` is the SDK's callback, which is also told the HTTP response.
const THINGS_TO_DO = {
  new_token: () => api.authorize(),

  create_natural_user: ({ email, key }, seen) =>
    api.Users.create(new api.models.UserNatural({
      FirstName: 'Zoë', LastName: 'Müller-Łukasz', Email: email, Address: ADDRESS, Birthday: 300681000,
      Nationality: 'FR', CountryOfResidence: 'FR', TermsAndConditionsAccepted: true, UserCategory: 'OWNER',
    }), seen, withKey(key)),
  create_natural_user_without_names: ({ email }, seen) =>
    api.Users.create({ PersonType: 'NATURAL', Email: email, UserCategory: 'OWNER' }, seen),
  rename_natural_user: ({ user, last_name }, seen) =>
    api.Users.update(new api.models.UserNatural({ Id: user, LastName: last_name }), seen),
  create_legal_user: ({ name }, seen) =>
    api.Users.create(new api.models.UserLegal({
      Name: name, Email: 'office@example.org', LegalPersonType: 'BUSINESS', HeadquartersAddress: ADDRESS,
      LegalRepresentativeFirstName: 'Ana', LegalRepresentativeLastName: 'Silva', LegalRepresentativeBirthday: 300681000,
      LegalRepresentativeNationality: 'PT', LegalRepresentativeCountryOfResidence: 'PT', CompanyNumber: 'LU72HN11',
      TermsAndConditionsAccepted: true, UserCategory: 'OWNER',
    }), seen),
  rename_legal_user: ({ user, name }, seen) =>
    api.Users.update(new api.models.UserLegal({ Id: user, Name: name }), seen),
  read_user: ({ user }, seen) => api.Users.get(user, seen),
  list_users: ({ page, per_page }, seen) =>
    api.Users.getAll(seen, { parameters: { page, per_page, sort: 'CreationDate:DESC' } }),

  create_wallet: ({ owner, description }, seen) =>
    api.Wallets.create({ Owners: [owner], Description: description, Currency: 'EUR' }, seen),
  read_wallet: ({ wallet, sca_context }, seen) =>
    api.Wallets.get(wallet, seen, sca_context ? { parameters: { ScaContext: sca_context } } : undefined),
  rename_wallet: ({ wallet, description }, seen) => api.Wallets.update({ Id: wallet, Description: description }, seen),
  list_wallets: ({ user }, seen) => api.Users.getWallets(user, seen),

  pay_in_by_card: ({ user, wallet, amount, key }, seen) =>
    api.PayIns.create({
      PaymentType: 'CARD', ExecutionType: 'WEB', AuthorId: user, CreditedWalletId: wallet, DebitedFunds: euros(amount),
      Fees: euros(0), CardType: 'CB_VISA_MASTERCARD', ReturnURL: 'https://shop.example.org/back?a=b&c=d', Culture: 'FR',
    }, seen, withKey(key)),
  read_pay_in: ({ pay_in }, seen) => api.PayIns.get(pay_in, seen),
  refund_pay_in: ({ pay_in, user }, seen) => api.PayIns.createRefund(pay_in, { AuthorId: user }, seen),

  transfer: ({ user, receiver, from, to, amount }, seen) =>
    api.Transfers.create({
      AuthorId: user, CreditedUserId: receiver, DebitedWalletId: from, CreditedWalletId: to, DebitedFunds: euros(amount),
      Fees: euros(0), Tag: 'naïve',
    }, seen),
  read_transfer: ({ transfer }, seen) => api.Transfers.get(transfer, seen),

  add_bank_account: ({ user }, seen) =>
    api.Users.createBankAccount(user, {
      Type: 'IBAN', OwnerName: 'Zoë Müller', OwnerAddress: ADDRESS, IBAN: 'FR7630004000031234567890143', BIC: 'BNPAFRPP',
    }, seen),
  pay_out: ({ user, wallet, bank_account, amount }, seen) =>
    api.PayOuts.create({
      PaymentType: 'BANK_WIRE', AuthorId: user, DebitedWalletId: wallet, BankAccountId: bank_account,
      DebitedFunds: euros(amount), Fees: euros(0), BankWireRef: 'thanks',
    }, seen),

  create_kyc_document: ({ user }, seen) => api.Users.createKycDocument(user, { Type: 'IDENTITY_PROOF' }, seen),
  upload_kyc_page: async ({ user, document, size }, seen) => {
    const file = Buffer.alloc(size, 'a page of a passport, ').toString('base64');
    await api.Users.createKycPage(user, document, new api.models.KycPage({ File: file }), seen);
    return { FileSha256: createHash('sha256').update(file).digest('hex') };
  },
  submit_kyc_document: ({ user, document }, seen) =>
    api.Users.updateKycDocument(user, { Id: document, Status: 'VALIDATION_ASKED' }, seen),
  read_kyc_document: ({ document }, seen) => api.KycDocuments.get(document, seen),

  upload_settlement: ({ lines }, seen) =>
    api.multipartFormMethod('post', seen, {
      url: `/V3.0/${process.env.MANGOPAY_CLIENT_ID}/payins/intents/settlements`,
      data: { file: Buffer.from('reference;amount\r\n'.repeat(lines)), fileName: 'settlement.csv' },
    }),

  create_hook: ({ event, url }, seen) => api.Hooks.create({ EventType: event, Url: url }, seen),
  list_hooks: (_, seen) => api.Hooks.getAll(seen),
  list_events: (_, seen) => api.Events.getAll(seen, { parameters: { per_page: 100, sort: 'Date:DESC' } }),

  read_stored_answer: ({ key }, seen) => api.Idempotency.get(key, seen),

  ...resources(api),
};

const rateLimits = () =>
  api.rateLimits.map((limit) => ({
    minutes: limit.minutesInterval, made: limit.callsMade, remaining: limit.callsRemaining, reset: limit.resetTimeMillis,
  }));

async function answer({ do: what, with: args }) {
  let response = null;
  let value = null;
  let error = null;
  try {
    value = await THINGS_TO_DO[what](args, (_, seen) => { response = seen; });
  } catch (reason) {
    error = reason instanceof Error ? { Thrown: reason.stack } : typeof reason === 'string' ? { Thrown: reason } : reason;
  }
  return {
    status: response?.status ?? null, value, error, headers: response?.headers ?? {}, rate_limits: rateLimits(),
  };
}

// The SDK leaves a promise unsettled when it is refused a connection: the test should fail, not hang.
process.on('unhandledRejection', (reason) => {
  process.stdout.write(`${JSON.stringify({ status: null, value: null, error: { Unhandled: String(reason) } })}\n`);
});

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await answer(JSON.parse(line)))}\n`);
}
