import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.PrivateKey;
import java.security.SecureRandom;
import java.security.interfaces.ECPublicKey;
import java.security.interfaces.RSAPublicKey;
import java.util.ArrayList;
import java.util.List;
import javax.crypto.SecretKey;
import javax.crypto.spec.SecretKeySpec;
import org.bouncycastle.cms.KEKRecipientId;
import org.bouncycastle.cms.KeyAgreeRecipientId;
import org.bouncycastle.cms.PasswordRecipient;
import org.bouncycastle.cms.PasswordRecipientId;
import org.bouncycastle.cms.PasswordRecipientInfoGenerator;
import org.bouncycastle.cms.RecipientId;
import org.bouncycastle.cms.RecipientInfoGenerator;
import org.bouncycastle.cms.RecipientInformation;
import org.bouncycastle.cms.RecipientInformationStore;
import org.bouncycastle.cms.jcajce.JceKEKRecipientInfoGenerator;
import org.bouncycastle.cms.jcajce.JceKeyAgreeRecipientId;
import org.bouncycastle.cms.jcajce.JceKeyAgreeRecipientInfoGenerator;
import org.bouncycastle.cms.jcajce.JceKeyTransRecipientId;
import org.bouncycastle.cms.jcajce.JceKeyTransRecipientInfoGenerator;
import org.bouncycastle.cms.jcajce.JcePasswordRecipientInfoGenerator;

/** Recipients of all kinds, as a request names them. */
final class Recipients {
    private Recipients() {
    }

    /** Everything that is to be added to a message that is being made. */
    static List<RecipientInfoGenerator> generators(Request r, String cipher) throws Exception {
        List<RecipientInfoGenerator> list = new ArrayList<>();
        for (Request.Person p : r.people("recipient")) {
            list.add(p.certificate().getPublicKey() instanceof RSAPublicKey ? transport(r, p) : agreement(r, p, cipher));
        }
        if (r.has("kek")) {
            list.add(new JceKEKRecipientInfoGenerator(r.hex("kek-id"), kek(r)).setProvider("BC"));
        }
        if (r.has("password")) {
            byte[] salt = new byte[16];
            new SecureRandom().nextBytes(salt);
            list.add(new JcePasswordRecipientInfoGenerator(Algorithms.cipher("aes-256-cbc"), r.get("password").toCharArray())
                .setProvider("BC")
                .setPasswordConversionScheme(PasswordRecipient.PKCS5_SCHEME2_UTF8)
                .setPRF(PasswordRecipient.PRF.HMacSHA256)
                .setSaltAndIterationCount(salt, 10000));
        }
        return list;
    }

    private static RecipientInfoGenerator transport(Request r, Request.Person p) throws Exception {
        JceKeyTransRecipientInfoGenerator generator;
        if (r.has("keyid") && r.has("oaep")) {
            generator = new JceKeyTransRecipientInfoGenerator(p.keyIdentifier(), Algorithms.oaep(r.get("oaep")),
                p.certificate().getPublicKey());
        } else if (r.has("keyid")) {
            generator = new JceKeyTransRecipientInfoGenerator(p.keyIdentifier(), p.certificate().getPublicKey());
        } else if (r.has("oaep")) {
            generator = new JceKeyTransRecipientInfoGenerator(p.certificate(), Algorithms.oaep(r.get("oaep")));
        } else {
            generator = new JceKeyTransRecipientInfoGenerator(p.certificate());
        }
        return generator.setProvider("BC");
    }

    private static RecipientInfoGenerator agreement(Request r, Request.Person p, String cipher) throws Exception {
        if (!(p.certificate().getPublicKey() instanceof ECPublicKey)) {
            throw new Request.Mistake("no key agreement with " + p.certificate().getPublicKey().getAlgorithm());
        }
        ECPublicKey key = (ECPublicKey) p.certificate().getPublicKey();
        KeyPairGenerator pairs = KeyPairGenerator.getInstance("EC", "BC");
        pairs.initialize(key.getParams());
        KeyPair ephemeral = pairs.generateKeyPair();
        JceKeyAgreeRecipientInfoGenerator generator = new JceKeyAgreeRecipientInfoGenerator(
            Algorithms.agreement(r.has("kdf") ? r.get("kdf") : "sha256"),
            ephemeral.getPrivate(), ephemeral.getPublic(), Algorithms.wrap(cipher));
        if (r.has("keyid")) {
            generator.addRecipient(p.keyIdentifier(), key);
        } else {
            generator.addRecipient(p.certificate());
        }
        return generator.setProvider("BC");
    }

    static SecretKey kek(Request r) throws Request.Mistake {
        return new SecretKeySpec(r.hex("kek"), "AES");
    }

    /** The key of the one who opens, or null if it is a KEK or a password that opens. */
    static PrivateKey key(Request r) throws Exception {
        List<Request.Person> readers = r.people("reader");
        return readers.isEmpty() ? null : readers.get(0).key;
    }

    /** Finds the part of a message that is for the one who opens it. */
    static RecipientInformation find(Request r, RecipientInformationStore infos) throws Exception {
        List<RecipientId> ids = new ArrayList<>();
        List<Request.Person> readers = r.people("reader");
        if (!readers.isEmpty()) {
            Request.Person p = readers.get(0);
            if (p.certificate().getPublicKey() instanceof RSAPublicKey) {
                ids.add(new JceKeyTransRecipientId(p.certificate()));
            } else {
                ids.add(new JceKeyAgreeRecipientId(p.certificate()));
                ids.add(new KeyAgreeRecipientId(p.keyIdentifier()));
            }
        } else if (r.has("kek")) {
            ids.add(new KEKRecipientId(r.hex("kek-id")));
        } else {
            ids.add(new PasswordRecipientId());
        }
        for (RecipientId id : ids) {
            if (infos.get(id) != null) {
                return infos.get(id);
            }
        }
        throw new Peer.Refused("the message is not for this recipient");
    }
}
