import java.io.ByteArrayInputStream;
import java.security.MessageDigest;
import java.security.PrivateKey;
import org.bouncycastle.asn1.ASN1OctetString;
import org.bouncycastle.asn1.cms.Attribute;
import org.bouncycastle.asn1.cms.AttributeTable;
import org.bouncycastle.asn1.cms.CMSAttributes;
import org.bouncycastle.asn1.nist.NISTObjectIdentifiers;
import org.bouncycastle.asn1.x509.AlgorithmIdentifier;
import org.bouncycastle.cms.CMSAuthenticatedData;
import org.bouncycastle.cms.CMSAuthenticatedDataGenerator;
import org.bouncycastle.cms.CMSAuthenticatedDataParser;
import org.bouncycastle.cms.CMSAuthenticatedDataStreamGenerator;
import org.bouncycastle.cms.CMSProcessableByteArray;
import org.bouncycastle.cms.PasswordRecipient;
import org.bouncycastle.cms.Recipient;
import org.bouncycastle.cms.RecipientInfoGenerator;
import org.bouncycastle.cms.RecipientInformation;
import org.bouncycastle.cms.jcajce.JceCMSMacCalculatorBuilder;
import org.bouncycastle.cms.jcajce.JceKEKAuthenticatedRecipient;
import org.bouncycastle.cms.jcajce.JceKeyAgreeAuthenticatedRecipient;
import org.bouncycastle.cms.jcajce.JceKeyTransAuthenticatedRecipient;
import org.bouncycastle.cms.jcajce.JcePasswordAuthenticatedRecipient;
import org.bouncycastle.operator.DigestCalculator;
import org.bouncycastle.operator.DigestCalculatorProvider;
import org.bouncycastle.operator.MacCalculator;
import org.bouncycastle.operator.jcajce.JcaDigestCalculatorProviderBuilder;

/** AuthenticatedData. */
final class Authenticating {
    /** The cipher whose key wrap fits the key of the MAC. */
    private static final String WRAPPED_AS = "aes-256-cbc";

    private Authenticating() {
    }

    private static DigestCalculatorProvider digests() throws Exception {
        return new JcaDigestCalculatorProviderBuilder().setProvider("BC").build();
    }

    static byte[] make(Request r) throws Exception {
        // Keys of 256 bits, since AES key wrap does not take the 160 that are usual with SHA-1.
        MacCalculator mac =
            new JceCMSMacCalculatorBuilder(Algorithms.mac(r.get("digest")), 256).setProvider("BC").build();
        // With a digest the library adds authenticated attributes.
        DigestCalculator digest =
            r.has("noattrs") ? null : digests().get(new AlgorithmIdentifier(NISTObjectIdentifiers.id_sha256));
        if (r.has("ber")) {
            CMSAuthenticatedDataStreamGenerator generator = new CMSAuthenticatedDataStreamGenerator();
            for (RecipientInfoGenerator g : Recipients.generators(r, WRAPPED_AS)) {
                generator.addRecipientInfoGenerator(g);
            }
            return Request.collect(out -> generator.open(out, mac, digest), r.input());
        }
        CMSAuthenticatedDataGenerator generator = new CMSAuthenticatedDataGenerator();
        for (RecipientInfoGenerator g : Recipients.generators(r, WRAPPED_AS)) {
            generator.addRecipientInfoGenerator(g);
        }
        return generator.generate(new CMSProcessableByteArray(r.input()), mac, digest).toASN1Structure().getEncoded("DER");
    }

    static byte[] open(Request r) throws Exception {
        RecipientInformation info;
        byte[] content;
        byte[] mac;
        AttributeTable attributes;
        if (r.has("ber")) {
            CMSAuthenticatedDataParser parser =
                new CMSAuthenticatedDataParser(new ByteArrayInputStream(r.input()), digests());
            info = Recipients.find(r, parser.getRecipientInfos());
            content = info.getContentStream(recipient(r)).getContentStream().readAllBytes();
            attributes = parser.getAuthAttrs();
            mac = parser.getMac();
        } else {
            CMSAuthenticatedData message = new CMSAuthenticatedData(r.input(), digests());
            info = Recipients.find(r, message.getRecipientInfos());
            content = info.getContent(recipient(r));
            attributes = message.getAuthAttrs();
            mac = message.getMac();
        }
        if (!MessageDigest.isEqual(mac, info.getMac())) {
            throw new Peer.Refused("the MAC is not valid");
        }
        if (attributes != null) {
            Attribute digest = attributes.get(CMSAttributes.messageDigest);
            byte[] said = digest == null ? new byte[0]
                : ASN1OctetString.getInstance(digest.getAttrValues().getObjectAt(0)).getOctets();
            if (!MessageDigest.isEqual(said, info.getContentDigest())) {
                throw new Peer.Refused("the content is not what was authenticated");
            }
        }
        return content;
    }

    private static Recipient recipient(Request r) throws Exception {
        PrivateKey key = Recipients.key(r);
        if (key != null && key.getAlgorithm().equals("RSA")) {
            return new JceKeyTransAuthenticatedRecipient(key).setProvider("BC");
        }
        if (key != null) {
            return new JceKeyAgreeAuthenticatedRecipient(key).setProvider("BC");
        }
        if (r.has("kek")) {
            return new JceKEKAuthenticatedRecipient(Recipients.kek(r)).setProvider("BC");
        }
        return new JcePasswordAuthenticatedRecipient(r.get("password").toCharArray()).setProvider("BC")
            .setPasswordConversionScheme(PasswordRecipient.PKCS5_SCHEME2_UTF8);
    }
}
