import java.security.spec.MGF1ParameterSpec;
import javax.crypto.spec.OAEPParameterSpec;
import javax.crypto.spec.PSource;
import org.bouncycastle.asn1.ASN1ObjectIdentifier;
import org.bouncycastle.asn1.pkcs.PKCSObjectIdentifiers;
import org.bouncycastle.asn1.x509.AlgorithmIdentifier;
import org.bouncycastle.cms.CMSAlgorithm;
import org.bouncycastle.operator.jcajce.JcaAlgorithmParametersConverter;

/** Names of algorithms in requests, and what the library calls them. */
final class Algorithms {
    private Algorithms() {
    }

    static ASN1ObjectIdentifier cipher(String name) throws Request.Mistake {
        switch (name) {
            case "aes-128-cbc": return CMSAlgorithm.AES128_CBC;
            case "aes-192-cbc": return CMSAlgorithm.AES192_CBC;
            case "aes-256-cbc": return CMSAlgorithm.AES256_CBC;
            case "aes-128-gcm": return CMSAlgorithm.AES128_GCM;
            case "aes-192-gcm": return CMSAlgorithm.AES192_GCM;
            case "aes-256-gcm": return CMSAlgorithm.AES256_GCM;
            case "aes-128-ccm": return CMSAlgorithm.AES128_CCM;
            case "aes-192-ccm": return CMSAlgorithm.AES192_CCM;
            case "aes-256-ccm": return CMSAlgorithm.AES256_CCM;
            case "des3": return CMSAlgorithm.DES_EDE3_CBC;
            default: throw new Request.Mistake("no cipher " + name);
        }
    }

    static boolean authenticated(String cipher) {
        return cipher.endsWith("-gcm") || cipher.endsWith("-ccm");
    }

    /** The key wrap that goes with a content cipher. */
    static ASN1ObjectIdentifier wrap(String cipher) {
        if (cipher.startsWith("aes-256")) {
            return CMSAlgorithm.AES256_WRAP;
        }
        if (cipher.startsWith("aes-192")) {
            return CMSAlgorithm.AES192_WRAP;
        }
        return cipher.equals("des3") ? CMSAlgorithm.DES_EDE3_WRAP : CMSAlgorithm.AES128_WRAP;
    }

    static ASN1ObjectIdentifier agreement(String digest) throws Request.Mistake {
        switch (digest) {
            case "sha1": return CMSAlgorithm.ECDH_SHA1KDF;
            case "sha224": return CMSAlgorithm.ECDH_SHA224KDF;
            case "sha256": return CMSAlgorithm.ECDH_SHA256KDF;
            case "sha384": return CMSAlgorithm.ECDH_SHA384KDF;
            case "sha512": return CMSAlgorithm.ECDH_SHA512KDF;
            default: throw new Request.Mistake("no key derivation with " + digest);
        }
    }

    static ASN1ObjectIdentifier mac(String digest) throws Request.Mistake {
        switch (digest) {
            case "sha1": return PKCSObjectIdentifiers.id_hmacWithSHA1;
            case "sha224": return PKCSObjectIdentifiers.id_hmacWithSHA224;
            case "sha256": return PKCSObjectIdentifiers.id_hmacWithSHA256;
            case "sha384": return PKCSObjectIdentifiers.id_hmacWithSHA384;
            case "sha512": return PKCSObjectIdentifiers.id_hmacWithSHA512;
            default: throw new Request.Mistake("no HMAC with " + digest);
        }
    }

    /** The name of a digest in the Java cryptography architecture. */
    static String digest(String name) {
        return name.startsWith("sha3-") ? name.toUpperCase() : name.toUpperCase().replace("SHA", "SHA-");
    }

    static AlgorithmIdentifier oaep(String name) throws Exception {
        String digest = digest(name);
        return new JcaAlgorithmParametersConverter().getAlgorithmIdentifier(PKCSObjectIdentifiers.id_RSAES_OAEP,
            new OAEPParameterSpec(digest, "MGF1", new MGF1ParameterSpec(digest), PSource.PSpecified.DEFAULT));
    }
}
