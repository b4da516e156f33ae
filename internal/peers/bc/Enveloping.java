import java.io.ByteArrayInputStream;
import java.io.InputStream;
import java.io.OutputStream;
import java.security.Key;
import java.security.PrivateKey;
import javax.crypto.Cipher;
import javax.crypto.SecretKey;
import org.bouncycastle.asn1.ASN1OctetString;
import org.bouncycastle.asn1.x509.AlgorithmIdentifier;
import org.bouncycastle.asn1.x509.SubjectPublicKeyInfo;
import org.bouncycastle.cms.CMSAuthEnvelopedData;
import org.bouncycastle.cms.CMSAuthEnvelopedDataGenerator;
import org.bouncycastle.cms.CMSEnvelopedData;
import org.bouncycastle.cms.CMSEnvelopedDataGenerator;
import org.bouncycastle.cms.CMSEnvelopedDataParser;
import org.bouncycastle.cms.CMSEnvelopedDataStreamGenerator;
import org.bouncycastle.cms.CMSException;
import org.bouncycastle.cms.CMSProcessableByteArray;
import org.bouncycastle.cms.PasswordRecipient;
import org.bouncycastle.cms.Recipient;
import org.bouncycastle.cms.RecipientInfoGenerator;
import org.bouncycastle.cms.RecipientInformation;
import org.bouncycastle.cms.RecipientOperator;
import org.bouncycastle.cms.jcajce.JceCMSContentEncryptorBuilder;
import org.bouncycastle.cms.jcajce.JceKEKEnvelopedRecipient;
import org.bouncycastle.cms.jcajce.JceKEKRecipient;
import org.bouncycastle.cms.jcajce.JceKeyAgreeEnvelopedRecipient;
import org.bouncycastle.cms.jcajce.JceKeyAgreeRecipient;
import org.bouncycastle.cms.jcajce.JceKeyTransAuthEnvelopedRecipient;
import org.bouncycastle.cms.jcajce.JceKeyTransEnvelopedRecipient;
import org.bouncycastle.cms.jcajce.JcePasswordEnvelopedRecipient;
import org.bouncycastle.jcajce.io.CipherInputStream;
import org.bouncycastle.mail.smime.SMIMEEnveloped;
import org.bouncycastle.mail.smime.SMIMEEnvelopedGenerator;
import org.bouncycastle.mail.smime.SMIMEEnvelopedParser;
import org.bouncycastle.operator.InputAEADDecryptor;
import org.bouncycastle.operator.OutputAEADEncryptor;
import org.bouncycastle.operator.OutputEncryptor;
import org.bouncycastle.util.encoders.Base64;

/** EnvelopedData and AuthEnvelopedData, in CMS and in S/MIME. */
final class Enveloping {
    private Enveloping() {
    }

    static byte[] make(Request r) throws Exception {
        String cipher = r.get("cipher");
        OutputEncryptor encryptor =
            new JceCMSContentEncryptorBuilder(Algorithms.cipher(cipher)).setProvider("BC").build();
        if (Algorithms.authenticated(cipher)) {
            return makeAuthenticated(r, cipher, (OutputAEADEncryptor) encryptor);
        }
        if (r.smime()) {
            SMIMEEnvelopedGenerator generator = new SMIMEEnvelopedGenerator();
            for (RecipientInfoGenerator g : Recipients.generators(r, cipher)) {
                generator.addRecipientInfoGenerator(g);
            }
            return Request.message(generator.generate(r.entity(), encryptor));
        }
        if (r.has("ber")) {
            CMSEnvelopedDataStreamGenerator generator = new CMSEnvelopedDataStreamGenerator();
            for (RecipientInfoGenerator g : Recipients.generators(r, cipher)) {
                generator.addRecipientInfoGenerator(g);
            }
            return Request.collect(out -> generator.open(out, encryptor), r.input());
        }
        CMSEnvelopedDataGenerator generator = new CMSEnvelopedDataGenerator();
        for (RecipientInfoGenerator g : Recipients.generators(r, cipher)) {
            generator.addRecipientInfoGenerator(g);
        }
        return generator.generate(new CMSProcessableByteArray(r.input()), encryptor).toASN1Structure().getEncoded("DER");
    }

    private static byte[] makeAuthenticated(Request r, String cipher, OutputAEADEncryptor encryptor) throws Exception {
        CMSAuthEnvelopedDataGenerator generator = new CMSAuthEnvelopedDataGenerator();
        for (RecipientInfoGenerator g : Recipients.generators(r, cipher)) {
            generator.addRecipientInfoGenerator(g);
        }
        CMSAuthEnvelopedData sealed = generator.generate(new CMSProcessableByteArray(r.input()), encryptor);
        if (!r.smime()) {
            return r.has("ber") ? sealed.getEncoded() : sealed.toASN1Structure().getEncoded("DER");
        }
        // The library has no generator for this type of S/MIME.
        String lines = Base64.toBase64String(sealed.getEncoded()).replaceAll("(.{76})", "$1\r\n");
        return ("MIME-Version: 1.0\r\n"
            + "Content-Type: application/pkcs7-mime; smime-type=authEnveloped-data; name=\"smime.p7m\"\r\n"
            + "Content-Transfer-Encoding: base64\r\n"
            + "Content-Disposition: attachment; filename=\"smime.p7m\"\r\n\r\n" + lines + "\r\n").getBytes("US-ASCII");
    }

    static byte[] open(Request r) throws Exception {
        if (Algorithms.authenticated(r.get("cipher"))) {
            byte[] der = r.smime() ? r.entity().getInputStream().readAllBytes() : r.input();
            CMSAuthEnvelopedData sealed = new CMSAuthEnvelopedData(der);
            return Recipients.find(r, sealed.getRecipientInfos()).getContent(authRecipient(r));
        }
        Recipient recipient = recipient(r);
        if (r.has("ber")) {
            CMSEnvelopedDataParser parser = r.smime() ? new SMIMEEnvelopedParser(r.entity())
                : new CMSEnvelopedDataParser(new ByteArrayInputStream(r.input()));
            RecipientInformation info = Recipients.find(r, parser.getRecipientInfos());
            return info.getContentStream(recipient).getContentStream().readAllBytes();
        }
        CMSEnvelopedData sealed = r.smime() ? new SMIMEEnveloped(r.entity()) : new CMSEnvelopedData(r.input());
        return Recipients.find(r, sealed.getRecipientInfos()).getContent(recipient);
    }

    private static Recipient recipient(Request r) throws Exception {
        PrivateKey key = Recipients.key(r);
        if (key != null && key.getAlgorithm().equals("RSA")) {
            return new JceKeyTransEnvelopedRecipient(key).setProvider("BC");
        }
        if (key != null) {
            return new JceKeyAgreeEnvelopedRecipient(key).setProvider("BC");
        }
        if (r.has("kek")) {
            return new JceKEKEnvelopedRecipient(Recipients.kek(r)).setProvider("BC");
        }
        return new JcePasswordEnvelopedRecipient(r.get("password").toCharArray()).setProvider("BC")
            .setPasswordConversionScheme(PasswordRecipient.PKCS5_SCHEME2_UTF8);
    }

    private static Recipient authRecipient(Request r) throws Exception {
        PrivateKey key = Recipients.key(r);
        if (key != null && key.getAlgorithm().equals("RSA")) {
            return new JceKeyTransAuthEnvelopedRecipient(key).setProvider("BC");
        }
        if (key != null) {
            return new KeyAgreeAuthRecipient(key).setProvider("BC");
        }
        if (r.has("kek")) {
            return new KEKAuthRecipient(Recipients.kek(r)).setProvider("BC");
        }
        return new PasswordAuthRecipient(r.get("password").toCharArray()).setProvider("BC")
            .setPasswordConversionScheme(PasswordRecipient.PKCS5_SCHEME2_UTF8);
    }

    // The library has recipients of AuthEnvelopedData for key transport alone.
    // These do for the others what that one does.

    private static final class KeyAgreeAuthRecipient extends JceKeyAgreeRecipient {
        KeyAgreeAuthRecipient(PrivateKey key) {
            super(key);
        }

        @Override
        public RecipientOperator getRecipientOperator(AlgorithmIdentifier keyAlgorithm, AlgorithmIdentifier algorithm,
                SubjectPublicKeyInfo sender, ASN1OctetString ukm, byte[] wrapped) throws CMSException {
            Key key = extractSecretKey(keyAlgorithm, algorithm, sender, ukm, wrapped);
            return operator(algorithm, contentHelper.createContentCipher(key, algorithm));
        }
    }

    private static final class KEKAuthRecipient extends JceKEKRecipient {
        KEKAuthRecipient(SecretKey key) {
            super(key);
        }

        @Override
        public RecipientOperator getRecipientOperator(AlgorithmIdentifier keyAlgorithm, AlgorithmIdentifier algorithm,
                byte[] wrapped) throws CMSException {
            Key key = extractSecretKey(keyAlgorithm, algorithm, wrapped);
            return operator(algorithm, contentHelper.createContentCipher(key, algorithm));
        }
    }

    private static final class PasswordAuthRecipient extends JcePasswordEnvelopedRecipient {
        PasswordAuthRecipient(char[] password) {
            super(password);
        }

        @Override
        public RecipientOperator getRecipientOperator(AlgorithmIdentifier keyAlgorithm, AlgorithmIdentifier algorithm,
                byte[] derived, byte[] wrapped) throws CMSException {
            Key key = extractSecretKey(keyAlgorithm, algorithm, derived, wrapped);
            return operator(algorithm, helper.createContentCipher(key, algorithm));
        }
    }

    private static RecipientOperator operator(AlgorithmIdentifier algorithm, Cipher cipher) {
        return new RecipientOperator(new InputAEADDecryptor() {
            @Override
            public AlgorithmIdentifier getAlgorithmIdentifier() {
                return algorithm;
            }

            @Override
            public InputStream getInputStream(InputStream in) {
                return new CipherInputStream(in, cipher);
            }

            @Override
            public OutputStream getAADStream() {
                return new OutputStream() {
                    @Override
                    public void write(int b) {
                        cipher.updateAAD(new byte[] {(byte) b});
                    }

                    @Override
                    public void write(byte[] data, int at, int length) {
                        cipher.updateAAD(data, at, length);
                    }
                };
            }

            @Override
            public byte[] getMAC() {
                return new byte[0]; // the cipher has checked the tag
            }
        });
    }
}
