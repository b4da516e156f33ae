import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.OutputStream;
import java.security.AlgorithmParameters;
import javax.crypto.Cipher;
import javax.crypto.CipherOutputStream;
import javax.crypto.spec.SecretKeySpec;
import org.bouncycastle.asn1.ASN1ObjectIdentifier;
import org.bouncycastle.asn1.ASN1Primitive;
import org.bouncycastle.asn1.cms.ContentInfo;
import org.bouncycastle.asn1.x509.AlgorithmIdentifier;
import org.bouncycastle.cms.CMSCompressedData;
import org.bouncycastle.cms.CMSCompressedDataGenerator;
import org.bouncycastle.cms.CMSCompressedDataParser;
import org.bouncycastle.cms.CMSCompressedDataStreamGenerator;
import org.bouncycastle.cms.CMSDigestedData;
import org.bouncycastle.cms.CMSEncryptedData;
import org.bouncycastle.cms.CMSEncryptedDataGenerator;
import org.bouncycastle.cms.CMSProcessableByteArray;
import org.bouncycastle.cms.jcajce.ZlibCompressor;
import org.bouncycastle.cms.jcajce.ZlibExpanderProvider;
import org.bouncycastle.mail.smime.SMIMECompressed;
import org.bouncycastle.mail.smime.SMIMECompressedGenerator;
import org.bouncycastle.operator.GenericKey;
import org.bouncycastle.operator.OutputEncryptor;
import org.bouncycastle.operator.jcajce.JcaDigestCalculatorProviderBuilder;
import org.bouncycastle.operator.jcajce.JceGenericKey;
import org.bouncycastle.operator.jcajce.JceInputDecryptorProviderBuilder;

/** The types without recipients: CompressedData, DigestedData, EncryptedData. */
final class Plain {
    private Plain() {
    }

    static byte[] makeCompressed(Request r) throws Exception {
        if (r.smime()) {
            return Request.message(new SMIMECompressedGenerator().generate(r.entity(), new ZlibCompressor()));
        }
        if (r.has("ber")) {
            return Request.collect(out -> new CMSCompressedDataStreamGenerator().open(out, new ZlibCompressor()), r.input());
        }
        return new CMSCompressedDataGenerator().generate(new CMSProcessableByteArray(r.input()), new ZlibCompressor())
            .toASN1Structure().getEncoded("DER");
    }

    static byte[] openCompressed(Request r) throws Exception {
        if (r.smime()) {
            return new SMIMECompressed(r.entity()).getContent(new ZlibExpanderProvider());
        }
        if (r.has("ber")) {
            return new CMSCompressedDataParser(new ByteArrayInputStream(r.input()))
                .getContent(new ZlibExpanderProvider()).getContentStream().readAllBytes();
        }
        return new CMSCompressedData(r.input()).getContent(new ZlibExpanderProvider());
    }

    static byte[] openDigested(Request r) throws Exception {
        CMSDigestedData digested = new CMSDigestedData(r.input());
        if (!digested.verify(new JcaDigestCalculatorProviderBuilder().setProvider("BC").build())) {
            throw new Peer.Refused("the digest is not that of the content");
        }
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        digested.getDigestedContent().write(out);
        return out.toByteArray();
    }

    static byte[] makeEncrypted(Request r) throws Exception {
        ASN1ObjectIdentifier algorithm = Algorithms.cipher(r.get("cipher"));
        SecretKeySpec key = new SecretKeySpec(r.hex("key"), r.get("cipher").equals("des3") ? "DESede" : "AES");
        Cipher cipher = Cipher.getInstance(algorithm.getId(), "BC");
        cipher.init(Cipher.ENCRYPT_MODE, key);
        AlgorithmParameters parameters = cipher.getParameters();
        AlgorithmIdentifier identifier =
            new AlgorithmIdentifier(algorithm, ASN1Primitive.fromByteArray(parameters.getEncoded("ASN.1")));
        // The library's own encryptor always draws a new key.
        OutputEncryptor encryptor = new OutputEncryptor() {
            @Override
            public AlgorithmIdentifier getAlgorithmIdentifier() {
                return identifier;
            }

            @Override
            public OutputStream getOutputStream(OutputStream out) {
                return new CipherOutputStream(out, cipher);
            }

            @Override
            public GenericKey getKey() {
                return new JceGenericKey(identifier, key);
            }
        };
        ContentInfo info = new CMSEncryptedDataGenerator()
            .generate(new CMSProcessableByteArray(r.input()), encryptor).toASN1Structure();
        return r.has("ber") ? info.getEncoded() : info.getEncoded("DER");
    }

    static byte[] openEncrypted(Request r) throws Exception {
        CMSEncryptedData message = new CMSEncryptedData(ContentInfo.getInstance(r.input()));
        return message.getContent(new JceInputDecryptorProviderBuilder().setProvider("BC").build(r.hex("key")));
    }
}
