// What the app on the Node SDK does with cards, mandates and the rest: as driver.mjs, which runs it.

const RETURN = 'https://shop.example.org/back';
const euros = (amount) => ({ Amount: amount, Currency: 'EUR' });

export const resources = (api) => ({
  register_card: ({ user }, seen) =>
    api.CardRegistrations.create({ UserId: user, Currency: 'EUR', CardType: 'CB_VISA_MASTERCARD' }, seen),
  finish_card: ({ registration, data }, seen) =>
    api.CardRegistrations.update({ Id: registration, RegistrationData: data }, seen),
  read_card: ({ card }, seen) => api.Cards.get(card, seen),
  charge_card: ({ user, wallet, card, amount, secure_mode }, seen) =>
    api.PayIns.create({
      PaymentType: 'CARD', ExecutionType: 'DIRECT', AuthorId: user, CreditedWalletId: wallet, CardId: card,
      DebitedFunds: euros(amount), Fees: euros(0), SecureMode: secure_mode, SecureModeReturnURL: RETURN,
    }, seen),
  preauthorize_card: ({ user, card, amount }, seen) =>
    api.CardPreAuthorizations.create({
      AuthorId: user, CardId: card, DebitedFunds: euros(amount), SecureMode: 'FORCE', SecureModeReturnURL: RETURN,
    }, seen),
  read_preauthorization: ({ preauthorization }, seen) => api.CardPreAuthorizations.get(preauthorization, seen),
  capture: ({ user, wallet, preauthorization, amount }, seen) =>
    api.PayIns.create({
      PaymentType: 'PREAUTHORIZED', ExecutionType: 'DIRECT', AuthorId: user, CreditedWalletId: wallet,
      PreauthorizationId: preauthorization, DebitedFunds: euros(amount), Fees: euros(0),
    }, seen),
  create_mandate: ({ bank_account }, seen) =>
    api.Mandates.create({ BankAccountId: bank_account, Culture: 'EN', ReturnURL: RETURN }, seen),
  read_mandate: ({ mandate }, seen) => api.Mandates.get(mandate, seen),
  debit_directly: ({ user, wallet, mandate, amount }, seen) =>
    api.PayIns.create({
      PaymentType: 'DIRECT_DEBIT', ExecutionType: 'DIRECT', AuthorId: user, CreditedUserId: user,
      CreditedWalletId: wallet, MandateId: mandate, DebitedFunds: euros(amount), Fees: euros(0),
    }, seen),
  pay_in_by_wire: ({ user, wallet, amount }, seen) =>
    api.PayIns.create({
      PaymentType: 'BANK_WIRE', ExecutionType: 'DIRECT', AuthorId: user, CreditedWalletId: wallet,
      DeclaredDebitedFunds: euros(amount), DeclaredFees: euros(0),
    }, seen),
  declare_owners: ({ user }, seen) => api.UboDeclarations.create(user, seen),
  read_dispute: ({ dispute }, seen) => api.Disputes.get(dispute, seen),
  create_report: (_, seen) => api.Reports.create({ ReportType: 'TRANSACTIONS' }, seen),
  read_report: ({ report }, seen) => api.Reports.get(report, seen),
  read_rate: ({ debited, credited }, seen) => api.Conversions.getConversionRate(debited, credited, seen),
  read_client_wallet: ({ funds, currency }, seen) => api.Clients.getClientWallet(funds, currency, seen),
  reserve_deposit: ({ user, card, amount }, seen) =>
    api.Deposits.create({
      AuthorId: user, CardId: card, DebitedFunds: euros(amount), SecureModeReturnURL: RETURN, IpAddress: '2001:db8::1',
    }, seen),
  verify_identity: ({ user }, seen) => api.IdentityVerifications.create(user, { ReturnUrl: RETURN }, seen),
  open_virtual_account: ({ wallet }, seen) =>
    api.VirtualAccounts.create(wallet, { VirtualAccountPurpose: 'COLLECTION', Country: 'FR' }, seen),
  pay_in_by_ideal: ({ user, wallet, amount }, seen) =>
    api.PayIns.create({
      PaymentType: 'IDEAL', ExecutionType: 'WEB', AuthorId: user, CreditedWalletId: wallet,
      DebitedFunds: euros(amount), Fees: euros(0), ReturnURL: RETURN,
    }, seen),

  create_owner: ({ email }, seen) =>
    api.Users.create({
      PersonType: 'NATURAL', NaturalSca: true, FirstName: 'Zoë', LastName: 'Müller', Email: email, Birthday: 300681000, Nationality: 'FR',
      CountryOfResidence: 'FR', TermsAndConditionsAccepted: true, UserCategory: 'OWNER',
    }, seen),
  read_owner: ({ user }, seen) => api.Users.getNaturalSca(user, seen),
  validate_card: ({ user, card }, seen) =>
    api.Cards.validate(card, {
      AuthorId: user, SecureMode: 'FORCE', SecureModeReturnURL: RETURN, IpAddress: '2001:db8::1',
      BrowserInfo: {
        AcceptHeader: 'text/html', ColorDepth: 24, JavaEnabled: false, JavascriptEnabled: true, Language: 'EN',
        ScreenHeight: 800, ScreenWidth: 600, TimeZoneOffset: '0', UserAgent: 'a browser',
      },
    }, seen),
  register_recurring: ({ user, wallet, card, amount }, seen) =>
    api.PayIns.createRecurringPayment({
      AuthorId: user, CardId: card, CreditedUserId: user, CreditedWalletId: wallet,
      FirstTransactionDebitedFunds: euros(amount), FirstTransactionFees: euros(0),
    }, seen),
  charge_recurring: ({ registration, amount }, seen) =>
    api.PayIns.createRecurringPayInRegistrationCIT({
      RecurringPayinRegistrationId: registration, SecureModeReturnURL: RETURN, IpAddress: '2001:db8::1',
      DebitedFunds: euros(amount), Fees: euros(0),
    }, seen),
  add_recipient: ({ user }, seen) =>
    api.Recipients.create({
      DisplayName: 'My account', PayoutMethodType: 'InternationalBankTransfer', RecipientType: 'Business',
      Currency: 'EUR', Country: 'FR',
      BusinessRecipient: {
        BusinessName: 'Fleurs',
        Address: { AddressLine1: '1 rue des Fleurs', City: 'Paris', PostalCode: '75001', Country: 'FR' },
      },
      InternationalBankTransfer: { AccountNumber: 'FR7630004000031234567890143', BIC: 'BNPAFRPP' },
    }, user, seen),
  read_recipient: ({ recipient }, seen) => api.Recipients.get(recipient, seen),
  authorize_intent: ({ user, wallet, amount }, seen) =>
    api.PayIns.createPayInIntentAuthorization({
      Amount: amount, Currency: 'EUR',
      ExternalData: {
        ExternalProcessingDate: '01-10-2029', ExternalProviderReference: 'ref', ExternalProviderName: 'Stripe',
      },
      LineItems: [{ Seller: { AuthorId: user, WalletId: wallet }, Sku: '1', Quantity: 1, UnitAmount: amount }],
    }, seen),
  read_intent: ({ intent }, seen) => api.PayIns.getPayInIntent(intent, seen),
  read_platform: (_, seen) => api.Clients.get(seen),
  read_country: ({ country }, seen) => api.Regulatory.getCountryAuthorizations(country, seen),
  list_banks: (_, seen) => api.PayIns.getPayByBankSupportedBanks(seen),
  tell_paypal: ({ details }, seen) => api.PayIns.createPayPalDataCollection(details, seen),
  read_block_status: ({ user }, seen) => api.Users.getBlockStatus(user, seen),
});
