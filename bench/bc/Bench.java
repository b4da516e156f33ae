import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.PrivateKey;
import java.security.Security;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Base64;
import java.util.List;
import java.util.Properties;
import javax.mail.Session;
import javax.mail.internet.MimeBodyPart;
import javax.mail.internet.MimeMessage;
import javax.mail.internet.MimeMultipart;
import org.bouncycastle.cert.jcajce.JcaCertStore;
import org.bouncycastle.cms.CMSAlgorithm;
import org.bouncycastle.cms.CMSEnvelopedDataParser;
import org.bouncycastle.cms.CMSEnvelopedDataStreamGenerator;
import org.bouncycastle.cms.CMSSignedDataParser;
import org.bouncycastle.cms.CMSSignedDataStreamGenerator;
import org.bouncycastle.cms.CMSTypedStream;
import org.bouncycastle.cms.RecipientInformation;
import org.bouncycastle.cms.SignerInformation;
import org.bouncycastle.cms.jcajce.JcaSimpleSignerInfoGeneratorBuilder;
import org.bouncycastle.cms.jcajce.JcaSimpleSignerInfoVerifierBuilder;
import org.bouncycastle.cms.jcajce.JceCMSContentEncryptorBuilder;
import org.bouncycastle.cms.jcajce.JceKeyTransEnvelopedRecipient;
import org.bouncycastle.cms.jcajce.JceKeyTransRecipientInfoGenerator;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.mail.smime.SMIMESigned;
import org.bouncycastle.operator.jcajce.JcaDigestCalculatorProviderBuilder;

/**
 * One operation on one file, with Bouncy Castle's streams where it has them:
 * Bench sign|verify|encrypt|decrypt der|smime detached|opaque|cbc CERT KEY IN CONTENT OUT.
 */
final class Bench {
    private static final int BLOCK = 1 << 16;

    private Bench() {
    }

    public static void main(String[] args) throws Exception {
        BouncyCastleProvider provider = new BouncyCastleProvider();
        if (args[0].equals("version")) {
            System.out.println(provider.getVersionStr());
            return;
        }
        Security.addProvider(provider);
        X509Certificate cert;
        try (InputStream in = new FileInputStream(args[3])) {
            cert = (X509Certificate) CertificateFactory.getInstance("X.509").generateCertificate(in);
        }
        String pem = Files.readString(Path.of(args[4])).replaceAll("-----[^-]*-----", "");
        PrivateKey key = KeyFactory.getInstance("RSA").generatePrivate(
            new PKCS8EncodedKeySpec(Base64.getMimeDecoder().decode(pem)));
        boolean detached = args[2].equals("detached");
        if (args[1].equals("smime") && args[0].equals("verify") && detached) {
            verifyMail(cert, args[5], args[7]);
            return;
        }
        try (InputStream in = args[1].equals("smime") ? body(args[5]) : open(args[5])) {
            switch (args[0]) {
                case "sign": sign(cert, key, in, args[7], !detached); break;
                case "verify": verify(cert, in, detached ? args[6] : null, args[7]); break;
                case "encrypt": encrypt(cert, in, args[7]); break;
                case "decrypt": decrypt(key, in, args[7]); break;
                default: throw new IllegalArgumentException(args[0]);
            }
        }
    }

    private static InputStream open(String file) throws Exception {
        return new BufferedInputStream(new FileInputStream(file), BLOCK);
    }

    /** The decoded body of a message in base64. */
    private static InputStream body(String file) throws Exception {
        InputStream in = open(file);
        int line = 0;
        for (int c = in.read(); c >= 0; c = in.read()) {
            if (c == '\n') {
                if (line == 0) {
                    break;
                }
                line = 0;
            } else if (c != '\r') {
                line++;
            }
        }
        return new BufferedInputStream(Base64.getMimeDecoder().wrap(in), BLOCK);
    }

    private static OutputStream create(String file) throws Exception {
        return new BufferedOutputStream(new FileOutputStream(file), BLOCK);
    }

    private static void copy(InputStream in, OutputStream out) throws Exception {
        byte[] block = new byte[BLOCK];
        for (int n = in.read(block); n >= 0; n = in.read(block)) {
            out.write(block, 0, n);
        }
    }

    private static void sign(X509Certificate cert, PrivateKey key, InputStream in, String file, boolean whole) throws Exception {
        CMSSignedDataStreamGenerator generator = new CMSSignedDataStreamGenerator();
        generator.addSignerInfoGenerator(
            new JcaSimpleSignerInfoGeneratorBuilder().setProvider("BC").build("SHA256withRSA", key, cert));
        generator.addCertificates(new JcaCertStore(List.of(cert)));
        try (OutputStream out = create(file); OutputStream content = generator.open(out, whole)) {
            copy(in, content);
        }
    }

    private static void check(SignerInformation signer, X509Certificate cert) throws Exception {
        if (!signer.verify(new JcaSimpleSignerInfoVerifierBuilder().setProvider("BC").build(cert))) {
            throw new SecurityException("the signature is not good");
        }
    }

    private static void verify(X509Certificate cert, InputStream in, String content, String file) throws Exception {
        var digests = new JcaDigestCalculatorProviderBuilder().setProvider("BC").build();
        CMSSignedDataParser parser = content == null ? new CMSSignedDataParser(digests, in)
            : new CMSSignedDataParser(digests, new CMSTypedStream(open(content)), in);
        if (content == null) {
            try (OutputStream out = create(file)) {
                copy(parser.getSignedContent().getContentStream(), out);
            }
        } else {
            parser.getSignedContent().drain();
        }
        for (SignerInformation signer : parser.getSignerInfos().getSigners()) {
            check(signer, cert);
        }
    }

    private static void verifyMail(X509Certificate cert, String in, String file) throws Exception {
        Session session = Session.getInstance(new Properties());
        try (InputStream stream = open(in)) {
            SMIMESigned signed = new SMIMESigned((MimeMultipart) new MimeMessage(session, stream).getContent());
            for (SignerInformation signer : signed.getSignerInfos().getSigners()) {
                check(signer, cert);
            }
            MimeBodyPart content = signed.getContent();
            try (OutputStream out = create(file)) {
                content.writeTo(out);
            }
        }
    }

    private static void encrypt(X509Certificate cert, InputStream in, String file) throws Exception {
        CMSEnvelopedDataStreamGenerator generator = new CMSEnvelopedDataStreamGenerator();
        generator.addRecipientInfoGenerator(new JceKeyTransRecipientInfoGenerator(cert).setProvider("BC"));
        JceCMSContentEncryptorBuilder cipher = new JceCMSContentEncryptorBuilder(CMSAlgorithm.AES256_CBC).setProvider("BC");
        try (OutputStream out = create(file); OutputStream content = generator.open(out, cipher.build())) {
            copy(in, content);
        }
    }

    private static void decrypt(PrivateKey key, InputStream in, String file) throws Exception {
        JceKeyTransEnvelopedRecipient recipient = new JceKeyTransEnvelopedRecipient(key);
        recipient.setProvider("BC");
        CMSEnvelopedDataParser parser = new CMSEnvelopedDataParser(in);
        RecipientInformation info = parser.getRecipientInfos().getRecipients().iterator().next();
        try (OutputStream out = create(file)) {
            copy(info.getContentStream(recipient).getContentStream(), out);
        }
    }
}
